"""Where a picture was taken, as IPTC's records say it, by themselves or among Photoshop's. Pure; lengths stay."""

_IPTC = 0x0404  # of Photoshop's resources
_EXIF, _MORE_EXIF, _XMP = 0x0422, 0x0423, 0x0424
# Of record 2: content location, city, sublocation, province, country.
_PLACES = frozenset({26, 27, 90, 92, 95, 100, 101})


def without_place(resources: bytes) -> bytes:
    """Photoshop's resources: the places go out of IPTC's records, and copies of EXIF and XMP as a whole. What cannot
    be followed to its end is zeroed.
    """
    block, at = bytearray(resources), 0
    while at + 12 <= len(block):
        name = at + 6
        start = name + (block[name] + 2 & ~1) + 4
        size = int.from_bytes(block[start - 4 : start])
        if block[at : at + 4] != b"8BIM" or start + size > len(block):
            return bytes(len(block))
        kind = int.from_bytes(block[at + 4 : at + 6])
        if kind == _IPTC:
            block[start : start + size] = records_without_place(bytes(block[start : start + size]))
        elif kind in {_EXIF, _MORE_EXIF, _XMP}:
            block[start : start + size] = bytes(size)
        at = start + (size + 1 & ~1)
    return bytes(block)


def records_without_place(records: bytes) -> bytes:
    """IPTC's records by themselves, with blanks in place of places. What cannot be followed to its end is zeroed."""
    block, at = bytearray(records), 0
    while at < len(block) and block[at] == 0x1C:
        size = int.from_bytes(block[at + 3 : at + 5])
        start = at + 5
        if size & 0x8000 or start + size > len(block):
            return bytes(len(block))
        if block[at + 1] == 2 and block[at + 2] in _PLACES:
            block[start : start + size] = b" " * size
        at = start + size
    if any(block[at:]):
        return bytes(len(block))
    return bytes(block)
