"""The structure EXIF is written in: directories of entries that point at values. Pure, in place."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from services.upload.media import iptc, xmp

GPS, EXIF, SUB_IFDS, XMP, IPTC, PHOTOSHOP = 0x8825, 0x8769, 0x014A, 0x02BC, 0x83BB, 0x8649
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
DIRECTORIES = 1000
ENTRIES = 100_000  # of all directories
LARGEST = 8 * 1024 * 1024  # bytes of one value that is looked through

Content = memoryview

_TEXTS = {XMP: xmp.without_place, IPTC: iptc.records_without_place, PHOTOSHOP: iptc.without_place}


class Malformed(ValueError):
    """Not a structure that could be followed to its end."""


@dataclass(frozen=True, slots=True)
class _Format:
    """`count` and `offset` as struct has them; an `entry` and its value's `field` in bytes."""

    order: str
    count: str
    offset: str
    entry: int
    field: int


_FORMATS = {
    b"II*\x00": _Format("<", "H", "I", 12, 4),
    b"MM\x00*": _Format(">", "H", "I", 12, 4),
    b"II+\x00": _Format("<", "Q", "Q", 20, 8),
    b"MM\x00+": _Format(">", "Q", "Q", 20, 8),
}


@dataclass(frozen=True, slots=True)
class _Entry:
    at: int
    tag: int
    value: int  # where its value stands
    size: int  # bytes of its value


def blank_location(content: Content) -> None:
    """Takes GPS directories and their entries out, and the place out of XMP and IPTC. Raises Malformed."""
    found = _Tiff(content)
    for directory in found.directories():
        for entry in reversed(found.entries(directory)):
            if entry.tag == GPS:
                found.blank(found.number(entry.value, found.format.offset))
                found.remove(directory, entry)
            elif entry.tag in _TEXTS:
                if entry.size > LARGEST:
                    raise Malformed("more metadata than is looked at")
                # Let go at once, for what is seen through it may be closed while an error still holds this frame.
                with content[entry.value : entry.value + entry.size] as text:
                    text[:] = _TEXTS[entry.tag](bytes(text))


class _Tiff:
    def __init__(self, content: Content) -> None:
        form = _FORMATS.get(bytes(content[:4]))
        if form is None:
            raise Malformed("no TIFF header")
        self.format = form
        self._content = content
        self._entries = 0

    def number(self, at: int, kind: str) -> int:
        try:
            return int(struct.unpack_from(self.format.order + kind, self._content, at)[0])
        except struct.error as error:
            raise Malformed("a value lies outside") from error

    def directories(self) -> Iterator[int]:
        """Every directory but those of GPS, each once. Read on only when the last one has been dealt with."""
        todo, seen = [self.number(8 if self.format.field == 8 else 4, self.format.offset)], set()
        while todo:
            directory = todo.pop()
            if directory == 0 or directory in seen:
                continue
            seen.add(directory)
            if len(seen) > DIRECTORIES:
                raise Malformed("too many directories")
            yield directory
            for entry in self.entries(directory):
                if entry.tag in (EXIF, SUB_IFDS):
                    size = struct.calcsize(self.format.offset)
                    todo += [self.number(entry.value + n, self.format.offset) for n in range(0, entry.size, size)]
            todo.append(self.number(self._end(directory), self.format.offset))

    def entries(self, directory: int) -> list[_Entry]:
        form = self.format
        count = self.number(directory, form.count)
        start = directory + struct.calcsize(form.count)
        if start + count * form.entry > len(self._content):
            raise Malformed("a directory lies outside")
        self._entries += count
        if self._entries > ENTRIES:
            raise Malformed("too many entries")
        return [self._entry(start + number * form.entry) for number in range(count)]

    def _entry(self, at: int) -> _Entry:
        form = self.format
        count = self.number(at + 4, "I" if form.field == 4 else "Q")
        size = count * _SIZES.get(self.number(at + 2, "H"), 1)
        value = at + form.entry - form.field
        if size > form.field:
            value = self.number(value, form.offset)
        return _Entry(at, self.number(at, "H"), value, size)

    def _end(self, directory: int) -> int:
        """Where the offset of the next directory stands."""
        count = self.number(directory, self.format.count)
        return directory + struct.calcsize(self.format.count) + count * self.format.entry

    def blank(self, directory: int) -> None:
        """Zeroes a directory and all its values."""
        end = self._end(directory) + struct.calcsize(self.format.offset)
        for entry in self.entries(directory):
            if entry.value + entry.size > len(self._content):
                raise Malformed("a value lies outside")
            self._zero(entry.value, entry.value + entry.size)
        self._zero(directory, min(end, len(self._content)))

    def remove(self, directory: int, entry: _Entry) -> None:
        """The entries behind it move up, and so does the offset of the next directory."""
        end = self._end(directory) + struct.calcsize(self.format.offset)
        behind = bytes(self._content[entry.at + self.format.entry : end])
        self._content[entry.at : entry.at + len(behind)] = behind
        self._zero(end - self.format.entry, end)
        count = self.number(directory, self.format.count) - 1
        struct.pack_into(self.format.order + self.format.count, self._content, directory, count)

    def _zero(self, start: int, end: int) -> None:
        end = min(end, len(self._content))
        self._content[start:end] = bytes(max(0, end - start))
