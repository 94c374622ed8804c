"""Boxes made by hand: what cameras put around the pixels of HEIC and AVIF, and where places are in it."""

import io
import mmap
import struct

import pytest
from PIL import Image

from services.upload.media.location import LocationStays, strip
from services.upload.media.rules import media_type
from tests.services.upload.images.conftest import picture
from tests.services.upload.images.photos import ORIENTATION, XMP, contains_place, exif, photo, same_pixels, told

EXIF = b"\x00\x00\x00\x06" + exif().tobytes()  # begins with its own name
FTYP = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"
PLACE = b"Vindobona, 48.2 N"


def stripped(content: bytes) -> bytes:
    with mmap.mmap(-1, len(content)) as area:
        area[:] = content
        return b"".join(area[span.start : span.stop] for span in strip(area, media_type(content[:4096], None)))


def box(kind: bytes, *content: bytes, large: bool = False) -> bytes:
    whole = b"".join(content)
    if large:
        return struct.pack(">I4sQ", 1, kind, len(whole) + 16) + whole
    return struct.pack(">I4s", len(whole) + 8, kind) + whole


def item(number: int, kind: bytes, *said: bytes, version: int = 2) -> bytes:
    name = struct.pack(">IH" if version == 3 else ">HH", number, 0)
    words = b"".join(word + b"\x00" for word in (b"a name", *said))
    return box(b"infe", bytes([version, 0, 0, 0]), name, kind if version >= 2 else b"", words)


def heic(items: list[bytes], data: list[bytes], *, how: int = 0, elsewhere: int = 0, version: int = 1) -> bytes:
    """Items 1, 2 … with `data` behind each other: in an `mdat`, or for `how` 1 in the index itself."""
    infos = box(b"iinf", bytes(4), struct.pack(">H", len(items)), *items)

    def index(start: int) -> bytes:
        entries, at = [], start
        for number, content in enumerate(data, 1):
            half = len(content) // 2
            extents = [(at, half), (at + half, len(content) - half)]
            entries.append(struct.pack(">I" if version == 2 else ">H", number))
            entries.append(struct.pack(">H", how) if version else b"")
            entries.append(struct.pack(">HH", elsewhere, 2))  # no base
            entries += [struct.pack(">II", *extent) for extent in extents]
            at += len(content)
        count = struct.pack(">I" if version == 2 else ">H", len(data))
        places = box(b"iloc", bytes([version, 0, 0, 0]), b"\x44\x00", count, *entries)
        inside = box(b"idat", *data) if how == 1 else b""
        return box(b"meta", bytes(4), box(b"hdlr", bytes(20)), infos, places, inside)

    before = FTYP + index(0)
    if how == 1:
        return before
    return FTYP + index(len(before) + 16) + box(b"mdat", *data, large=True)


@pytest.mark.parametrize(("how", "version"), [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2)])
def test_items_are_found_wherever_they_are(how: int, version: int) -> None:
    """In several pieces, in the index itself, with numbers of either width."""
    items = [item(1, b"Exif"), item(2, b"mime", b"application/rdf+xml", version=3), item(3, b"hvc1"), item(4, b"uri ")]
    data = [EXIF, XMP, b"pixels", b"exif:GPSLatitude=48"]
    before = heic(items, data, how=how, version=version)
    assert contains_place(before)
    after = stripped(before)
    assert not contains_place(after)
    assert len(after) == len(before)
    assert b"pixels" in after
    assert b"Harbour Cameras" in after
    assert b'dc:format="kept"' in after


@pytest.mark.parametrize(
    "broken",
    [
        heic([item(1, b"Exif")], [EXIF], elsewhere=1),
        heic([item(1, b"Exif")], [EXIF], how=2),
        heic([item(1, b"Exif")], [EXIF])[:-10],
        heic([item(1, b"jpeg")], [b"\xff\xd8\xff\xe1\x00\x10Exif\x00\x00" + PLACE]),
        FTYP + box(b"meta", bytes(4), box(b"iinf", bytes(4), b"\x00\x01", item(1, b"Exif")), box(b"iloc", bytes(6))),
        FTYP + struct.pack(">I4s", 4, b"meta"),
        FTYP + box(b"moov", box(b"trak", box(b"mdia", box(b"hdlr", bytes(8), b"meta", bytes(12))))),
        FTYP + box(b"free") * 100_001,
    ],
    ids=[
        "other file",
        "item of an item",
        "cut",
        "own metadata",
        "short index",
        "box in itself",
        "track of data",
        "many",
    ],
)
def test_what_is_not_understood_is_refused(broken: bytes) -> None:
    with pytest.raises(LocationStays):
        stripped(broken)


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff" + PLACE, b"\x00\x00\x00\x06" + PLACE, PLACE[:3]])
def test_exif_that_nobody_can_read_goes_as_a_whole(data: bytes) -> None:
    assert PLACE[:3] not in stripped(heic([item(1, b"Exif")], [data]))


def test_xmp_that_is_packed_goes_as_a_whole() -> None:
    packed = item(1, b"mime", b"application/rdf+xml", b"deflate")
    assert b"packed" not in stripped(heic([packed], [b"packed" * 3]))


def test_what_no_picture_needs_is_left_empty() -> None:
    """A film behind the picture with a place of its own, notes of the film that a sequence is."""
    film = box(b"mpvd", box(b"ftyp", b"mp42"), box(b"moov", box(b"udta", box(b"\xa9xyz", PLACE))))
    notes = box(b"moov", box(b"mvhd", b"kept"), box(b"udta", box(b"\xa9xyz", PLACE)), box(b"trak", box(b"udta", PLACE)))
    before = heic([item(1, b"hvc1")], [b"pixels"]) + film + notes + box(b"uuid", PLACE)
    after = stripped(before)
    assert b"Vindobona" not in after
    assert len(after) == len(before)
    assert after.count(b"free") == 4
    assert b"mvhdkept" in after


def test_a_moving_avif() -> None:
    """Pillow's has its EXIF in the track."""
    made = io.BytesIO()
    frames = [Image.open(io.BytesIO(picture(seed))) for seed in (1, 2, 3)]
    told_of_it = exif()
    del told_of_it[ORIENTATION]  # Pillow's encoder dies of it
    frames[0].save(made, "AVIF", save_all=True, append_images=frames[1:], exif=told_of_it, xmp=XMP)
    before = made.getvalue()
    assert b"moov" in before
    assert contains_place(before)
    after = stripped(before)
    assert not contains_place(after)
    assert told(after)[1] == {}
    assert same_pixels(before, after)
    assert len(after) == len(before)
    assert after != before


def test_by_its_brand() -> None:
    assert media_type(photo("HEIC"), None) == "image/heic"
