"""Where a picture was taken, taken out of the file without touching a pixel.

Bytes are changed in place, and what cannot be is left out: `strip` returns what of the file stays, in order.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from mmap import mmap
from typing import IO

from services.upload.images.rules import FORMATS
from services.upload.media import heif, iptc, tiff, xmp

Span = range
Content = mmap

_UNREAD = frozenset({"image/heic", "image/heif"})

_EXIF = b"Exif\x00\x00"
_XMP = b"http://ns.adobe.com/xap/1.0/\x00"
_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\x00"
_PHOTOSHOP = b"Photoshop 3.0\x00"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # what ends the data of a scan
# Of a PNG's text: what other formats keep elsewhere, in hexadecimal digits, and EXIF entry by entry.
_PROFILE = re.compile(rb"(?i)Raw profile type (exif|xmp|APP1|iptc|8bim)\x00|[^\x00]*(gps|latitude|longitude)")
_BEFORE_TEXT = re.compile(rb"\x00[^\x00]?\x00?[^\x00]*\x00[^\x00]*\x00")  # of a PNG: how packed, language, title
_GIF_XMP = b"XMP DataXMP"
_GIF_END = b"\x01\xff\xfe\xfd"


class LocationStays(ValueError):
    """It cannot be taken out for certain, so the file must not be kept."""


def strip(content: Content, kind: str) -> list[Span]:
    """`kind` is the media type the content has. Raises LocationStays."""
    stripper = _STRIPPERS.get(kind)
    if stripper is None:
        raise LocationStays(f"The location cannot be taken out of {kind}.")
    try:
        return list(stripper(content))
    except (tiff.Malformed, heif.Malformed, struct.error) as error:
        raise LocationStays("The image is not well formed, so its location cannot be found.") from error


def tells_location(file: IO[bytes], kind: str) -> bool:
    """As Pillow reads it, without decoding a pixel, so that there may be any number of them; True also when it cannot
    read it. HEIC it never can: False.
    """
    if kind in _UNREAD:
        return False
    from PIL import Image

    Image.init()
    try:
        file.seek(0)
        # `Image.open` would refuse a panorama for its number of pixels.
        with Image.OPEN[FORMATS[kind]][0](file, "") as image:
            exif = Image.Exif()
            exif.load(image.info.get("exif", b""))
            packets = [image.info.get(name, b"") for name in ("xmp", "XML:com.adobe.xmp")]
            in_tiff = tiff.GPS in getattr(image, "tag_v2", {})
    except Exception:  # noqa: BLE001 - whatever a broken image does to its reader, it is not known to be clean
        return True
    texts = [packet.encode() if isinstance(packet, str) else packet for packet in packets]
    return tiff.GPS in exif or in_tiff or any(xmp.tells_place(text) for text in texts)


def _jpeg(content: Content) -> Iterator[Span]:
    """All pictures that follow each other in the file; what comes behind them, a film for instance, is left out."""
    start = end = 0
    while content[end : end + 2] == b"\xff\xd8":
        end = _one_jpeg(content, end)
        behind = re.compile(rb"\x00*\xff\xd8\xff").match(content, end)
        if behind is None:
            break
        end = behind.end() - 3
    yield Span(start, end)


def _one_jpeg(content: Content, start: int) -> int:
    """Returns where it ends."""
    at, more = start + 2, []
    while True:
        while content[at : at + 2] == b"\xff\xff":
            at += 1
        if content[at : at + 1] != b"\xff":
            raise LocationStays("The JPEG is not well formed.")
        marker = content[at + 1 : at + 2]
        at += 2
        if marker == b"\xd9":
            break
        if marker == b"\x01" or b"\xd0" <= marker <= b"\xd7":
            continue
        end = at + struct.unpack_from(">H", content, at)[0]
        payload = slice(at + 2, end)
        if marker in (b"\xe1", b"\xed") and content[payload].startswith(_MORE_XMP):
            more.append(payload)
        elif marker in (b"\xe1", b"\xed"):
            content[payload] = _segment(content[payload])
        at = end
        if marker == b"\xda":
            found = _MARKER.search(content, end)
            if found is None:
                return _blank_more(content, more, len(content))  # cut short, as some cameras leave it
            at = found.start()
    return _blank_more(content, more, at)


def _segment(payload: bytes) -> bytes:
    if payload.startswith(_EXIF):
        return _exif(payload)
    if payload.startswith(_XMP):
        return _XMP + xmp.without_place(payload[len(_XMP) :])
    if payload.startswith(_PHOTOSHOP):
        return _PHOTOSHOP + iptc.without_place(payload[len(_PHOTOSHOP) :])
    return payload


def _exif(payload: bytes) -> bytes:
    """With or without its name in front. Nobody can read what is not well formed: it goes as a whole."""
    prefix = len(_EXIF) if payload.startswith(_EXIF) else 0
    block = bytearray(payload)
    try:
        tiff.blank_location(memoryview(block)[prefix:])
    except tiff.Malformed:
        return bytes(len(payload))
    return bytes(block)


def _blank_more(content: Content, parts: list[slice], end: int) -> int:
    """A large XMP packet comes in several segments, and a word may stand across two of them."""
    head = len(_MORE_XMP) + 40
    if xmp.tells_place(b"".join(content[part][head:] for part in parts)):
        for part in parts:
            content[part] = bytes(part.stop - part.start)
    return end


def _png(content: Content) -> Iterator[Span]:
    at = 8
    yield Span(0, at)
    while at < len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        end = at + 12 + size
        if end > len(content):
            raise LocationStays("The PNG is cut short.")
        if kind in (b"eXIf", b"iTXt", b"tEXt", b"zTXt"):
            data = _metadata(content, slice(at + 8, at + 8 + size))
            cleaned = _chunk(kind, data)
            if cleaned is None:
                at = end
                continue
            if cleaned != data:
                content[at + 8 : end] = cleaned + struct.pack(">I", zlib.crc32(kind + cleaned))
        yield Span(at, end)
        at = end
        if kind == b"IEND":
            return


def _chunk(kind: bytes, data: bytes) -> bytes | None:
    """None: it has to go."""
    if kind == b"eXIf":
        cleaned = _exif(data)
        return cleaned if any(cleaned) else None
    if _PROFILE.match(data):
        return None
    name, _, rest = data.partition(b"\x00")
    if name != b"XML:com.adobe.xmp":
        return data
    if kind != b"iTXt" or rest[:1] != b"\x00":
        return None  # compressed: to be understood it would have to be written anew
    before = _BEFORE_TEXT.match(rest)
    return None if before is None else name + b"\x00" + before[0] + xmp.without_place(rest[before.end() :])


def _webp(content: Content) -> Iterator[Span]:
    end = min(len(content), 8 + struct.unpack_from("<I", content, 4)[0])
    at = 12
    while at + 8 <= end:
        kind, size = struct.unpack_from("<4sI", content, at)
        payload = slice(at + 8, min(at + 8 + size, end))
        if kind == b"EXIF":
            content[payload] = _exif(_metadata(content, payload))
        elif kind == b"XMP ":
            content[payload] = xmp.without_place(_metadata(content, payload))
        at += 8 + size + size % 2
    yield Span(0, end)


def _gif(content: Content) -> Iterator[Span]:
    at = content.find(_GIF_XMP)
    while at >= 0:
        start = at + len(_GIF_XMP)
        end = content.find(_GIF_END, start)
        if end < 0:
            raise LocationStays("The GIF is not well formed.")
        content[start:end] = xmp.without_place(_metadata(content, slice(start, end)))
        at = content.find(_GIF_XMP, end)
    yield Span(0, len(content))


def _tiff(content: Content) -> Iterator[Span]:
    with memoryview(content) as view:
        tiff.blank_location(view)
    yield Span(0, len(content))


def _metadata(content: Content, where: slice) -> bytes:
    """A copy, of which several are made before it is clean."""
    if where.stop - where.start > heif.METADATA:
        raise LocationStays("It has more metadata than is looked at.")
    return content[where]


def _heif(content: Content) -> Iterator[Span]:
    heif.blank_location(content, _exif)
    yield Span(0, len(content))


def _nothing(content: Content) -> Iterator[Span]:
    yield Span(0, len(content))


_STRIPPERS: dict[str, Callable[[Content], Iterator[Span]]] = {
    "image/jpeg": _jpeg,
    "image/png": _png,
    "image/webp": _webp,
    "image/gif": _gif,
    "image/tiff": _tiff,
    "image/avif": _heif,
    "image/heic": _heif,
    "image/heif": _heif,
    "image/bmp": _nothing,
    "image/x-ms-bmp": _nothing,
}
