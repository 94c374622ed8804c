"""HEIC, HEIF and AVIF: boxes within boxes, and items that an index says the places of. In place; every box keeps its
length, so that no offset changes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from mmap import mmap

from services.upload.media import xmp

BOXES = 100_000  # looked at in one file
METADATA = 8 * 1024 * 1024  # bytes of all its EXIF and XMP

Content = mmap
Clean = Callable[[bytes], bytes]

# What the pixels need. Anything else, a film behind the picture for instance, is left empty.
_IN_FILE = frozenset(
    (b"ftyp", b"styp", b"meta", b"mdat", b"moov", b"moof", b"mfra", b"sidx", b"pdin", b"free", b"skip")
)
_IN_META = frozenset(
    (b"hdlr", b"pitm", b"iinf", b"iloc", b"iprp", b"iref", b"idat", b"grpl", b"dinf", b"ipro", b"free", b"skip")
)
_IN_FILM = frozenset((b"mvhd", b"trak", b"meta", b"mvex", b"iods", b"free", b"skip"))
_IN_TRACK = frozenset((b"tkhd", b"edts", b"mdia", b"meta", b"tref", b"trgr", b"free", b"skip"))
_SHOWN = frozenset((b"pict", b"auxv", b"vide", b"soun"))  # tracks; others are of data, which may be places


class Malformed(ValueError):
    """Not boxes that could be followed to their end, or not what is understood here."""


@dataclass(frozen=True, slots=True)
class Box:
    """From `at` to `end`, its content from `start` on."""

    kind: bytes
    at: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Item:
    """`said`: media type and encoding of one that has them."""

    id: int
    kind: bytes
    said: tuple[bytes, bytes] = (b"", b"")


def blank_location(content: Content, clean_exif: Clean) -> None:
    """`clean_exif` gets and returns EXIF, whose length stays. Raises Malformed."""
    _Heif(content, clean_exif).clean()


class _Heif:
    def __init__(self, content: Content, clean_exif: Clean) -> None:
        self._content = content
        self._clean_exif = clean_exif
        self._boxes = self._bytes = 0

    def clean(self) -> None:
        for box in self._keep(0, len(self._content), _IN_FILE):
            if box.kind == b"meta":
                self._clean_meta(box)
            elif box.kind == b"moov":
                self._clean_film(box)

    def _clean_film(self, film: Box) -> None:
        for box in self._keep(film.start, film.end, _IN_FILM):
            if box.kind == b"meta":
                self._clean_meta(box)
            elif box.kind == b"trak":
                self._clean_track(box)

    def _clean_track(self, track: Box) -> None:
        for box in self._keep(track.start, track.end, _IN_TRACK):
            if box.kind == b"meta":
                self._clean_meta(box)
            elif box.kind == b"mdia":
                for inner in self._inside(box.start, box.end):
                    if inner.kind == b"hdlr" and self._content[inner.start + 8 : inner.start + 12] not in _SHOWN:
                        raise Malformed("a track is neither pictures nor sound")

    def _clean_meta(self, meta: Box) -> None:
        inside = {box.kind: box for box in self._keep(meta.start + 4, meta.end, _IN_META)}
        if b"iinf" not in inside:
            return
        places = self._places(inside.get(b"iloc"), inside.get(b"idat"))
        for item in self._items(inside[b"iinf"]):
            if item.kind in {b"Exif", b"mime", b"uri ", b"jpeg"}:
                self._clean_item(item, places.get(item.id, ()))

    def _clean_item(self, item: Item, spans: Sequence[range | None]) -> None:
        pieces = [span for span in spans if span is not None]
        size = sum(map(len, pieces))
        self._bytes += size
        if len(pieces) < len(spans) or any(span.stop > len(self._content) for span in pieces) or self._bytes > METADATA:
            raise Malformed("metadata lies outside")
        before = b"".join(self._content[span.start : span.stop] for span in pieces)
        after = self._cleaned(item, before)
        at = 0
        for span in pieces:
            self._content[span.start : span.stop] = after[at : at + len(span)]
            at += len(span)

    def _cleaned(self, item: Item, data: bytes) -> bytes:
        if item.kind == b"Exif":
            return self._cleaned_exif(data)
        if item.kind == b"mime" and item.said == (b"application/rdf+xml", b""):
            return xmp.without_place(data)
        if item.kind == b"jpeg":
            if b"Exif\x00\x00" in data or xmp.tells_place(data):
                raise Malformed("a picture in it has metadata of its own")
            return data
        return bytes(len(data)) if item.said[1] or xmp.tells_place(data) else data

    def _cleaned_exif(self, data: bytes) -> bytes:
        """First how many bytes stand before the EXIF: its name or nothing."""
        skipped = 4 + int.from_bytes(data[:4])
        if skipped > len(data):
            return bytes(len(data))
        before = data[4:skipped] if data[4:skipped] == b"Exif\x00\x00" else bytes(skipped - 4)
        return data[:4] + before + self._clean_exif(data[skipped:])

    def _items(self, index: Box) -> Iterator[Item]:
        at = index.start + (6 if self._number(index.start, 1) == 0 else 8)
        for entry in self._inside(at, index.end):
            version, at = self._number(entry.start, 1), entry.start + 4
            number = self._number(at, 4 if version == 3 else 2)
            at += 6 if version == 3 else 4
            kind = b"mime"
            if version >= 2:
                kind, at = self._content[at : at + 4], at + 4
            words = self._content[at : entry.end].split(b"\x00")
            yield Item(number, kind, (words[1], words[2] if len(words) > 2 else b"") if len(words) > 1 else (b"", b""))

    def _places(self, index: Box | None, data: Box | None) -> dict[int, list[range | None]]:
        """By item where its bytes are, in order; None for what is not in this file as it is."""
        if index is None:
            return {}
        version, sizes, at = self._number(index.start, 1), self._number(index.start + 4, 2), index.start + 6
        of_offset, of_length, of_base, of_number = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15
        wide = 4 if version == 2 else 2
        places: dict[int, list[range | None]] = {}
        count, at = self._number(at, wide), at + wide
        for _ in range(count):
            item, at = self._number(at, wide), at + wide
            how = self._number(at, 2) & 15 if version else 0
            at += 2 if version else 0
            elsewhere = self._number(at, 2) != 0
            base, at = self._number(at + 2, of_base), at + 2 + of_base
            extents, at = self._number(at, 2), at + 2
            found = places.setdefault(item, [])
            for _ in range(extents):
                at += of_number if version else 0
                start, at = base + self._number(at, of_offset), at + of_offset
                length, at = self._number(at, of_length), at + of_length
                self._count()
                found.append(None if elsewhere else self._span(how, start, length, data))
        if at > index.end:
            raise Malformed("the index of places is cut short")
        return places

    def _span(self, how: int, start: int, length: int, data: Box | None) -> range | None:
        if how == 1 and data is not None:
            start, end = start + data.start, data.end
        elif how == 0:
            end = len(self._content)
        else:
            return None
        return range(start, start + length if length else max(start, end))

    def _keep(self, start: int, end: int, wanted: frozenset[bytes]) -> Iterator[Box]:
        """Those that are wanted; of the others nothing is left."""
        for box in self._inside(start, end):
            if box.kind in wanted:
                yield box
                continue
            self._content[box.at + 4 : box.at + 8] = b"free"
            for at in range(box.start, box.end, METADATA):
                self._content[at : min(at + METADATA, box.end)] = bytes(min(METADATA, box.end - at))

    def _inside(self, start: int, end: int) -> Iterator[Box]:
        at = start
        while at < end:
            size, kind = self._number(at, 4), self._content[at + 4 : at + 8]
            content = at + 8
            if size == 1:
                size, content = self._number(at + 8, 8), at + 16
            until = end if size == 0 else at + size
            if until > end or until < content:
                raise Malformed("a box lies outside")
            self._count()
            yield Box(kind, at, content, until)
            at = until

    def _count(self) -> None:
        self._boxes += 1
        if self._boxes > BOXES:
            raise Malformed("too many boxes")

    def _number(self, at: int, size: int) -> int:
        found = self._content[at : at + size]
        if len(found) < size:
            raise Malformed("a number lies outside")
        return int.from_bytes(found)
