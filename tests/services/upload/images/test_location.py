"""Where a picture was taken is taken out, and not a pixel with it. Read back by Pillow, which we did not write."""

import hashlib
import io
import mmap
import struct
import zlib
from base64 import b64encode
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from PIL import Image, ImageChops, ImageSequence
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from services.upload.media.location import LocationStays, strip
from services.upload.media.rules import media_type
from tests.services.upload.images.conftest import Studio, picture
from tests.services.upload.resumable.conftest import metadata

MAKE, ORIENTATION, EXIF_IFD, GPS_IFD, TAKEN = 0x010F, 0x0112, 0x8769, 0x8825, 0x9003
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    b' dc:format="kept" exif:GPSLatitude="48,12.5N"><exif:GPSLongitude>16,22.25E</exif:GPSLongitude>'
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)
LATITUDE = (48.0, 12.0, 30.25)


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
    extra: dict[str, Any] = {"exif": exif()}
    if kind in {"JPEG", "WEBP", "AVIF"}:
        extra["xmp"] = XMP
    return picture(3, kind=kind, **extra, **options)


def directory() -> ImageFileDirectory_v2:
    made = ImageFileDirectory_v2()
    made[MAKE], made[ORIENTATION] = "Harbour Cameras", 6
    made[EXIF_IFD] = {TAKEN: "2026:11:21 12:00:00"}
    made[GPS_IFD] = {1: "N", 2: LATITUDE}
    return made


def gif_with_xmp() -> bytes:
    """As Adobe has it: raw, then 258 bytes that lead whoever reads lengths to the end."""
    gif = picture(3, kind="GIF")
    start = gif.index(b",", 13 + 3 * 256)  # the first picture
    trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\x00"
    return gif[:start] + b"\x21\xff\x0bXMP DataXMP" + XMP + trailer + gif[start:]


def stripped(content: bytes) -> bytes:
    with mmap.mmap(-1, len(content)) as area:
        area[:] = content
        return b"".join(area[span.start : span.stop] for span in strip(area, media_type(content[:4096], None)))


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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_loses_its_place_and_nothing_else(kind: str) -> None:
    before = photo(kind)
    assert told(before)[1][2] == LATITUDE
    after = stripped(before)
    tags, gps, _ = told(after)
    assert gps == {}
    assert GPS_IFD not in tags
    assert tags[MAKE] == "Harbour Cameras"
    if kind != "AVIF":  # turned upright when it is written
        assert tags[ORIENTATION] == 6
    with Image.open(io.BytesIO(after)) as image:
        assert image.getexif().get_ifd(EXIF_IFD)[TAKEN] == "2026:11:21 12:00:00"
    assert same_pixels(before, after)
    assert len(after) == len(before)
    assert not contains_place(after)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "GIF"])
def test_xmp_loses_its_place_and_nothing_else(kind: str) -> None:
    before = photo(kind)
    assert b"GPSLatitude" in before
    after = stripped(before)
    assert b"GPSL" not in after
    assert b'dc:format="kept"' in after
    assert same_pixels(before, after)


def contains_place(content: bytes) -> bool:
    """The number itself, as a fraction of either byte order."""
    return any(struct.pack(f"{order}II", 121, 4) in content for order in "<>")


def test_the_number_is_there_before() -> None:
    assert contains_place(photo("JPEG"))


def test_the_thumbnail_and_the_second_picture_of_a_jpeg() -> None:
    """Phones put pictures behind the first, each with a place of its own, and films behind those."""
    two = io.BytesIO()
    first, second = (Image.open(io.BytesIO(picture(seed, kind="JPEG"))) for seed in (1, 2))
    first.save(two, "MPO", save_all=True, append_images=[second], exif=exif())
    content = two.getvalue() + photo("JPEG") + b"\x00\x00\x00\x18ftypmp42" + b"\xa9xyz+48.2+16.4/" * 100
    after = stripped(content)
    assert not contains_place(after)
    assert b"ftypmp42" not in after
    assert after.startswith(b"\xff\xd8")
    assert len(after) == len(two.getvalue()) + len(photo("JPEG"))


def test_extended_xmp_in_several_segments() -> None:
    """A word may stand across two of them."""
    jpeg = picture(1, kind="JPEG")
    packet = b"<x>" + b" " * 100 + b"exif:GPSLati" + b"tude='48.2'</x>"
    name, guid = b"http://ns.adobe.com/xmp/extension/\x00", b"G" * 32
    parts = [packet[:110], packet[110:]]
    segments = b""
    for number, part in enumerate(parts):
        payload = name + guid + struct.pack(">II", len(packet), number * 110) + part
        segments += b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload
    after = stripped(jpeg[:2] + segments + jpeg[2:])
    assert b"48.2" not in after
    assert same_pixels(jpeg, after)


def test_a_jpeg_whose_exif_is_broken_loses_it_all() -> None:
    jpeg = picture(1, kind="JPEG")
    block = b"Exif\x00\x00II*\x00\xff\xff\xff\x7f" + b"LAT48.2"
    after = stripped(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:])
    assert b"LAT48.2" not in after
    assert same_pixels(jpeg, after)


@pytest.mark.parametrize("compressed", [False, True])
def test_text_of_a_png(compressed: bool) -> None:
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=compressed)
    text.add_text("Raw profile type exif", "\nexif\n 12\n" + b"Exif\0\0II*\0GPS".hex(), zip=compressed)
    text.add_text("Title", "kept")
    before = picture(1, pnginfo=text)
    after = stripped(before + b"behind the end: GPSLatitude")
    with Image.open(io.BytesIO(after)) as image:
        image.load()
        assert image.text["Title"] == "kept"  # type: ignore[attr-defined]
        assert "GPS" not in str(image.text)  # type: ignore[attr-defined]
        assert "Raw profile type exif" not in image.text  # type: ignore[attr-defined]
    assert b"GPS" not in after
    assert same_pixels(before, after)
    check_sums(after)


def check_sums(png: bytes) -> None:
    at = 8
    while at < len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        said = int.from_bytes(png[at + 8 + size : at + 12 + size], "big")
        assert zlib.crc32(png[at + 4 : at + 8 + size]) == said
        at += 12 + size


@pytest.mark.parametrize("order", ["<", ">"])
def test_big_tiff_and_both_byte_orders(order: str) -> None:
    """Made by hand: a directory of two entries, the second of which leads to the place."""
    mark = b"II+\x00" if order == "<" else b"MM\x00+"
    head = mark + struct.pack(f"{order}HHQ", 8, 0, 16)[:12]
    directory = 16
    gps_at = directory + 8 + 2 * 20 + 8
    value_at = gps_at + 8 + 20 + 8
    content = head[:16]
    content += struct.pack(f"{order}Q", 2)
    content += struct.pack(f"{order}HHQQ", 0x0100, 3, 1, 7 if order == "<" else 7 << 48)
    content += struct.pack(f"{order}HHQQ", GPS_IFD, 13, 1, gps_at) + struct.pack(f"{order}Q", 0)
    content += struct.pack(f"{order}QHHQQ", 1, 2, 5, 3, value_at) + struct.pack(f"{order}Q", 0)
    content += struct.pack(f"{order}6I", 48, 1, 12, 1, 121, 4)
    assert contains_place(content)
    with mmap.mmap(-1, len(content)) as area:
        area[:] = content
        strip(area, "image/tiff")
        after = area[:]
    assert not contains_place(after)
    assert struct.unpack_from(f"{order}Q", after, directory)[0] == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF"])
def test_no_cut_and_no_wrong_byte_does_more_than_refuse(kind: str) -> None:
    """What comes out opens without a place, or nothing comes out."""
    import random

    whole = photo(kind)
    chance = random.Random(5)
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        cut = bytes(content[: chance.randrange(16, len(content) + 1)])
        if media_type(cut[:4096], None) == media_type(whole[:4096], None):
            try:
                assert len(stripped(cut)) <= len(cut)
            except LocationStays:
                continue


async def test_through_the_form(studio: Studio) -> None:
    """On request only, at both doors, and what is stored is what was hashed and counted."""
    who = studio.photographer()
    content = photo("JPEG")
    for path, fields in (("/api/images/upload", {}), ("/api/storage/upload", {"category": "documents"})):
        for strips in (True, False):
            flag = {"strip_location": "true"} if strips else {}
            status, made = await who.send(content, {**flag, **fields}, path=path)
            assert status == 201, made
            image = made.get("image_id") or made["file_id"]
            kept = await who.get(f"/api/storage/files/{image}/content")
            assert (told(kept)[1] == {}) == strips
            file = await who.get(f"/api/storage/files/{image}")
            assert (file["sha256"], file["file_size"]) == (sha256(kept).hex(), len(kept))
    await studio.look_at_all()
    listed = await who.get("/api/images")
    assert [item["has_location"] for item in listed["items"]] == [True, False, True, False]


async def test_through_a_put(studio: Studio) -> None:
    """The digest that was sent is that of what was sent; what is stored has one of its own."""
    who, content = studio.photographer(), photo("JPEG")
    path = "/api/storage/content/documents/a.jpg?strip_location=true"
    digest = {"Content-Type": "image/jpeg", "Repr-Digest": f"sha-256=:{b64encode(sha256(content)).decode()}:"}
    for expected in (201, 200):  # stored, then replaced
        status, made, _ = await who.call("PUT", path, data=content, headers=digest)
        assert status == expected, made
        kept = await who.get(f"/api/storage/files/{made['file_id']}/content")
        assert told(kept)[1] == {}
        assert (made["sha256"], made["file_size"]) == (sha256(kept).hex(), len(kept))
    status, answer, _ = await who.call("PUT", path, data=content + b"x", headers=digest)
    assert (status, answer["code"]) == (422, "digest_mismatch")
    status, answer, _ = await who.call("PUT", path, data=b"%PDF-1.7 " + bytes(100))
    assert (status, answer["code"]) == (422, "location_not_removable")
    assert (await who.quota())["used"] == len(kept)
    assert not await studio.query("SELECT FROM reservation")


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("uploads", {"headers": {"Upload-Length": "10"}}),
        ("uploads", {"headers": {"Upload-Length": "10", "Content-Type": "application/offset+octet-stream"}}),
        ("uploads", {"headers": {"Upload-Concat": f"final;/api/storage/uploads/{uuid4()}"}}),
        ("direct-uploads", {"json": {"file_name": "a.jpg", "file_size": 10, "strip_location": True}}),
        ("s3/multipart", {"json": {"filename": "a.jpg", "type": "image/jpeg"}}),
    ],
)
async def test_where_it_cannot_be_done_it_is_not_silently_left_undone(
    studio: Studio, path: str, options: dict[str, Any]
) -> None:
    who = studio.photographer()
    said = {"category": "documents", "strip_location": "true"}
    if "headers" in options:
        headers = {"Tus-Resumable": "1.0.0", "Upload-Metadata": metadata(**said), **options["headers"]}
        options = {"headers": headers, "data": b"0123456789" if "Content-Type" in headers else None}
    else:
        options = {"json": {"category": "documents", **options["json"], "metadata": said}}
    status, answer, _ = await who.call("POST", f"/api/storage/{path}", **options)
    assert (status, answer["code"]) == (422, "strip_location_not_supported"), answer
    assert not await studio.query("SELECT FROM reservation")


async def test_refused_rather_than_kept(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    who = studio.photographer()
    flag = {"strip_location": "true"}
    status, answer = await who.send(
        b"%PDF-1.7 " + bytes(100), {**flag, "category": "documents"}, path="/api/storage/upload"
    )
    assert (status, answer["code"]) == (422, "location_not_removable")
    status, answer = await who.send(photo("PNG")[:-30], flag)
    assert (status, answer["code"]) == (422, "location_not_removable")
    monkeypatch.setattr("services.upload.intake.stripped.LIMIT", 1000)
    status, answer = await who.send(photo("JPEG"), flag)
    assert (status, answer["code"]) == (413, "file_too_large")
    monkeypatch.undo()
    late = aiohttp.FormData(default_to_multipart=True)
    # Larger than what comes at once: its first bytes are stored before the field is read.
    late.add_field("file", photo("JPEG") + bytes(1_000_000), filename="a.jpg")
    late.add_field("strip_location", "true")
    status, answer, _ = await who.call("POST", "/api/images/upload", data=late)
    assert (status, answer["code"]) == (422, "field_after_file")
    assert not await studio.query("SELECT FROM stored_file")
    assert not await studio.query("SELECT FROM reservation")
    assert studio.apps[0].blobs() == []
