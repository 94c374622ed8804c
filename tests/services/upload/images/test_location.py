"""Where a picture was taken is taken out, and not a pixel with it. Read back by Pillow, which we did not write."""

import io
import mmap
import struct
import tracemalloc
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from PIL import Image

from services.upload.blobs.local import LocalStore
from services.upload.intake.stripped import write_stripped
from services.upload.media.iptc import records_without_place, without_place
from services.upload.media.location import LocationStays, strip
from services.upload.media.rules import media_type
from services.upload.media.xmp import without_place as xmp_without_place
from tests.services.upload.images.conftest import Studio, picture
from tests.services.upload.images.photos import (
    CAPTION,
    CITY,
    EXIF_IFD,
    GPS_IFD,
    IPTC,
    LATITUDE,
    MAKE,
    ORIENTATION,
    TAKEN,
    XMP,
    branded,
    contains_place,
    exif,
    iptc,
    photo,
    same_pixels,
    sha256,
    told,
)

MIB = 1024 * 1024


def stripped(content: bytes) -> bytes:
    with mmap.mmap(-1, len(content)) as area:
        area[:] = content
        return b"".join(area[span.start : span.stop] for span in strip(area, media_type(content[:4096], None)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIC"])
def test_exif_loses_its_place_and_nothing_else(kind: str) -> None:
    before = photo(kind)
    assert contains_place(before)
    after = stripped(before)
    before, after = readable(before), readable(after)
    assert told(before)[1][2] == LATITUDE
    tags, gps, _ = told(after)
    assert gps == {}
    assert GPS_IFD not in tags
    assert tags[MAKE] == "Harbour Cameras"
    if kind not in {"AVIF", "HEIC"}:  # turned upright when it is written
        assert tags[ORIENTATION] == 6
    with Image.open(io.BytesIO(after)) as image:
        assert image.getexif().get_ifd(EXIF_IFD)[TAKEN] == "2026:11:21 12:00:00"
    assert same_pixels(before, after)
    assert not contains_place(after)
    if kind != "PNG":
        assert len(after) == len(before)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIC", "GIF"])
def test_xmp_loses_its_place_and_nothing_else(kind: str) -> None:
    """Towns and countries are places, too."""
    before = photo(kind)
    assert b"GPSLatitude" in before
    assert b"photoshop:City" in before
    after = stripped(before)
    assert not contains_place(after)
    assert b'dc:format="kept"' in after
    assert b"<dc:title>A state of kept capacity</dc:title>" in after
    assert same_pixels(readable(before), readable(after))


def readable(content: bytes) -> bytes:
    """By Pillow, which cannot unpack HEIC; here it is one by name only."""
    return branded(content, b"avif") if content[8:12] == b"heic" else content


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_iptc_loses_its_place_and_nothing_else(kind: str) -> None:
    before = photo(kind)
    assert iptc(before)[CITY] == b"Vindobona"
    after = stripped(before)
    assert iptc(after)[CITY].strip() == b""
    assert iptc(after)[CAPTION] == b"kept"
    assert same_pixels(before, after)


@pytest.mark.parametrize(
    "records",
    [IPTC[:-3], b"\x1c\x02\x5a\x80\x04\x00\x00\x00\x09Vindobona", b"?" + IPTC, IPTC + b"Vindobona"],
    ids=["cut short", "extended", "not at the beginning", "more behind it"],
)
def test_iptc_that_cannot_be_followed_goes_as_a_whole(records: bytes) -> None:
    assert records_without_place(records) == bytes(len(records))
    resource = b"8BIM\x04\x04\x00\x00" + struct.pack(">I", len(records)) + records + b"\x00" * (len(records) % 2)
    assert b"Vindobona" not in without_place(resource)
    assert without_place(resource[:-4]) == bytes(len(resource) - 4)


def test_photoshop_s_copies_of_exif_and_xmp_go() -> None:
    copies = b"".join(b"8BIM" + struct.pack(">HHI", kind, 0, 9) + b"Vindobona\x00" for kind in (0x0422, 0x0423, 0x0424))
    kept = b"8BIM" + struct.pack(">H", 0x03ED) + b"\x03abc" + struct.pack(">I", 3) + b"300\x00"
    assert without_place(copies + kept).replace(b"\x00" * 10, b"") == copies.replace(b"Vindobona\x00", b"") + kept


@pytest.mark.parametrize(
    "left_open", ["<a:gps>48.2", "<photoshop:City>Wien", "<a:city x='>'>Wien</a:city", "</a:city>"]
)
def test_xmp_that_cannot_be_followed_goes_as_a_whole(left_open: str) -> None:
    packet = f"<x:xmpmeta><a:title>t</a:title>{left_open}</x:xmpmeta>".encode()
    assert xmp_without_place(packet) == b" " * len(packet)


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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF", "HEIC"])
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


async def test_more_pixels_than_are_ever_unpacked(studio: Studio) -> None:
    """A panorama is no less private: nothing is unpacked, so their number does not matter."""
    made = io.BytesIO()
    Image.new("1", (20_000, 10_000)).save(made, "PNG", exif=exif())
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(made.getvalue()))
    who = studio.photographer()
    path = "/api/storage/content/documents/a.png?strip_location=true"
    status, stored, _ = await who.call("PUT", path, data=made.getvalue())
    assert status == 201, stored
    kept = await who.get(f"/api/storage/files/{stored['file_id']}/content")
    assert not contains_place(kept)
    assert kept[-1000:] == made.getvalue()[-1000:]


async def test_a_large_image_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    png, size = photo("PNG"), 40 * MIB
    filling = (
        struct.pack(">I4s", size, b"prVt")
        + bytes(size)
        + struct.pack(">I", zlib.crc32(bytes(size), zlib.crc32(b"prVt")))
    )
    store = LocalStore(tmp_path)
    whole = tmp_path / "large.png"
    whole.write_bytes(png[:-12] + filling + png[-12:])
    del filling

    async def pieces() -> AsyncIterator[bytes]:
        with whole.open("rb") as file:
            while piece := file.read(MIB):
                yield piece

    Image.init()  # its readers are loaded once
    tracemalloc.start()
    digest = await write_stripped(pieces(), store, "customers/a.png", tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    await store.close()
    assert peak < size // 2
    assert digest.size > size
    assert not contains_place((tmp_path / "blobs" / "customers" / "a.png").read_bytes())


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_more_metadata_than_is_looked_at_is_refused(kind: str) -> None:
    size = 8 * MIB + 2
    if kind == "PNG":
        content = photo("PNG")[:8] + struct.pack(">I4s", size, b"tEXt") + bytes(size + 4)
    else:
        content = b"RIFF" + struct.pack("<I4s4sI", size + 12, b"WEBP", b"XMP ", size) + bytes(size)
    with pytest.raises(LocationStays, match="more metadata"):
        stripped(content)


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
