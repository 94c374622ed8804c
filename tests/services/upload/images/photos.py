"""Photos that say where they were taken, wherever a camera or an editor writes it; and Pillow to read them with."""

import hashlib
import io
import struct
from typing import Any

from PIL import Image, ImageChops, ImageSequence
from PIL.IptcImagePlugin import getiptcinfo
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from tests.services.upload.images.conftest import picture

MAKE, ORIENTATION, EXIF_IFD, GPS_IFD, TAKEN = 0x010F, 0x0112, 0x8769, 0x8825, 0x9003
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    b' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:core="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"'
    b' xmlns:ext="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    b' dc:format="kept" exif:GPSLatitude="48,12.5N" photoshop:City="Vindobona"><exif:GPSLongitude>16,22.25E'
    b"</exif:GPSLongitude><dc:title>A state of kept capacity</dc:title><photoshop:State>Vindobona</photoshop:State>"
    b"<core:Location>Vindobona</core:Location><core:CountryCode/><ext:LocationShown><rdf:Bag><rdf:li>"
    b"<ext:City>Vindobona</ext:City></rdf:li></rdf:Bag></ext:LocationShown>"
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)
LATITUDE = (48.0, 12.0, 30.25)
CITY, CAPTION = (2, 90), (2, 120)  # of IPTC
IPTC = (
    b"\x1c\x02\x5a\x00\x09Vindobona\x1c\x02\x78\x00\x04kept\x1c\x02\x5c\x00\x09Vindobona\x1c\x02\x65\x00\x09Vindobona"
)
PHOTOSHOP = b"8BIM\x04\x04\x00\x00" + struct.pack(">I", len(IPTC)) + IPTC + b"\x00" * (len(IPTC) % 2)


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def exif() -> Image.Exif:
    made = Image.Exif()
    made[MAKE] = "Harbour Cameras"
    made[ORIENTATION] = 6
    made.get_ifd(EXIF_IFD)[TAKEN] = "2026:11:21 12:00:00"
    made.get_ifd(GPS_IFD).update({1: "N", 2: LATITUDE, 3: "E", 4: (16.0, 22.0, 15.5), 29: "2026:11:21"})
    return made


def photo(kind: str, **options: Any) -> bytes:
    if kind == "TIFF":
        return picture(3, kind=kind, tiffinfo=directory())
    if kind == "GIF":
        return gif_with_xmp()
    if kind == "HEIC":
        return branded(photo("AVIF"), b"heic")
    extra: dict[str, Any] = {"exif": exif()}
    if kind in {"JPEG", "WEBP", "AVIF"}:
        extra["xmp"] = XMP
    if kind == "PNG":
        extra["pnginfo"] = PngInfo()
        extra["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
        extra["pnginfo"].add_text("Raw profile type iptc", f"\niptc\n {len(IPTC)}\n{IPTC.hex()}")
        extra["pnginfo"].add_text("exif:GPSLatitude", "48/1, 12/1, 121/4")
    made = picture(3, kind=kind, **extra, **options)
    return with_iptc(made) if kind == "JPEG" else made


def branded(content: bytes, brand: bytes) -> bytes:
    """The same boxes by another name: what is around the pixels is the same in AVIF and HEIC."""
    return content[:8] + brand + content[12:]


def with_iptc(jpeg: bytes) -> bytes:
    segment = b"Photoshop 3.0\x00" + PHOTOSHOP
    return jpeg[:2] + b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


def directory() -> ImageFileDirectory_v2:
    made = ImageFileDirectory_v2()
    made[MAKE], made[ORIENTATION] = "Harbour Cameras", 6
    made[EXIF_IFD] = {TAKEN: "2026:11:21 12:00:00"}
    made[GPS_IFD] = {1: "N", 2: LATITUDE}
    for tag, value in ((0x02BC, XMP), (0x83BB, IPTC), (0x8649, PHOTOSHOP)):
        made.tagtype[tag] = 7
        made[tag] = value
    return made


def gif_with_xmp() -> bytes:
    """As Adobe has it: raw, then 258 bytes that lead whoever reads lengths to the end."""
    gif = picture(3, kind="GIF")
    start = gif.index(b",", 13 + 3 * 256)  # the first picture
    trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\x00"
    return gif[:start] + b"\x21\xff\x0bXMP DataXMP" + XMP + trailer + gif[start:]


def iptc(content: bytes) -> dict[tuple[int, int], Any]:
    """As Pillow reads it: blanks where there was a place."""
    with Image.open(io.BytesIO(content)) as image:
        return getiptcinfo(image) or {}


def told(content: bytes) -> tuple[dict[int, Any], dict[int, Any], Any]:
    with Image.open(io.BytesIO(content)) as image:
        found = image.getexif()
        xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
        return dict(found), dict(found.get_ifd(GPS_IFD)), xmp


def same_pixels(one: bytes, other: bytes) -> bool:
    with Image.open(io.BytesIO(one)) as a, Image.open(io.BytesIO(other)) as b:
        frames = [
            ImageChops.difference(x.convert("RGB"), y.convert("RGB")).getbbox()
            for x, y in zip(ImageSequence.Iterator(a), ImageSequence.Iterator(b), strict=True)
        ]
    return not any(frames)


def contains_place(content: bytes) -> bool:
    """The number itself, as a fraction of either byte order; the town; any word of XMP's."""
    words = (b"Vindobona", b"GPSL", b"48,12.5", b"16,22.25", IPTC.hex().encode())
    return any(word in content for word in (*words, struct.pack("<II", 121, 4), struct.pack(">II", 121, 4)))
