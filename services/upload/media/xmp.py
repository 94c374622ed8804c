"""Where a picture was taken, as XMP says it. Pure; every packet keeps its length."""

import re

LARGEST = 1024 * 1024  # bytes of a packet that is looked through; a larger one goes as a whole

_WORDS = (
    rb"[\w-]*gps[\w-]*|[\w-]*latitude[\w-]*|[\w-]*longitude[\w-]*|lat|long?"
    rb"|city|state|provincestate|country|countryname|countrycode|worldregion|coverage"
    rb"|location|locationcreated|locationshown|locationname|locationid|sublocation"
)
# Whatever the prefix: photoshop, Iptc4xmpCore, Iptc4xmpExt, exif, geo and those of camera makers.
_PREFIX = rb"[A-Za-z][\w.-]*:"
_ATTRIBUTE = re.compile(rb"\s" + _PREFIX + rb"(?i:" + _WORDS + rb")\s*=\s*(?:\"[^\"]*\"|'[^']*')")
_ELEMENT = re.compile(rb"<((?:" + _PREFIX + rb")?(?i:" + _WORDS + rb"))(?=[\s/>])")
_SUSPECT = re.compile(
    rb"(?i:gps|latitude|longitude)|(?:\s" + _PREFIX + rb"|</?(?:" + _PREFIX + rb")?)(?i:" + _WORDS + rb")(?=[\s=/>])"
)


def without_place(packet: bytes) -> bytes:
    """The same number of bytes, with blanks where the place was; all blanks where it cannot be told apart."""
    if len(packet) > LARGEST or b"\x00" in packet[:64]:  # UTF-16 and UTF-32 have NULs at once
        return b" " * len(packet)
    if not tells_place(packet):
        return packet
    cleaned = _ATTRIBUTE.sub(lambda found: b" " * len(found[0]), _without_elements(packet))
    # A namespace that only has GPS in its name, or something we did not understand.
    return b" " * len(packet) if tells_place(cleaned) else cleaned


def tells_place(packet: bytes) -> bool:
    return _SUSPECT.search(packet) is not None


def _without_elements(packet: bytes) -> bytes:
    """Step by step, for a pattern from `<` to `</` would look through the rest again at each that is left open."""
    block, at = bytearray(packet), 0
    while (found := _ELEMENT.search(packet, at)) is not None:
        at = packet.find(b">", found.end()) + 1
        if at and packet[at - 2 : at - 1] != b"/":
            closing = b"</" + found[1]
            close = packet.find(closing, at)
            at = packet.find(b">", close) + 1 if close >= 0 else 0
            if packet[close + len(closing) : at - 1].strip():
                at = 0  # another name that begins like it
        if not at:
            return b" " * len(packet)
        block[found.start() : at] = b" " * (at - found.start())
    return bytes(block)
