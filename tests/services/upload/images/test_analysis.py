"""What is found out about an image, from every file somebody may send."""

import asyncio
import io
import os
import struct
import zlib
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from services.upload.blobs.local import LocalStore
from services.upload.blobs.store import StoreUnavailable
from services.upload.files import pages
from services.upload.images.analysis import rules
from services.upload.images.analysis.embedder import DefaultEmbedder, OnnxEmbedder
from services.upload.images.analysis.facts import look
from services.upload.images.decoding import Unreadable
from services.upload.tasks.runner import TaskRunner
from tests.services.upload.images.conftest import Studio, picture
from tests.services.upload.images.photos import exif

LIMIT = 50_000_000


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    made = io.BytesIO()
    image.save(made, kind, **options)
    return made.getvalue()


def facts(content: bytes, limit: int = LIMIT) -> Any:
    return look(io.BytesIO(content), limit, DefaultEmbedder())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"])
async def test_every_kind_is_looked_at(studio: Studio, kind: str) -> None:
    who = studio.photographer()
    _, made = await who.send(picture(kind=kind, size=(100, 50)), {"kind": "generated", "metadata": '{"prompt": "sea"}'})
    before = await who.get(f"/api/images/{made['image_id']}")
    assert (before["analysed"], before["error"], before["width"]) == (False, None, None)
    await studio.look_at_all()
    found = await who.get(f"/api/images/{made['image_id']}")
    assert (found["analysed"], found["error"]) == (True, None)
    assert (found["width"], found["height"], found["orientation"]) == (100, 50, 1)
    assert (found["format"], found["has_location"]) == (kind.lower(), False)
    assert (found["kind"], found["metadata"]) == ("generated", {"kind": "generated", "prompt": "sea"})
    assert len(found["perceptual_hash"]) == 16
    assert found["embedding_model"] == "layout-256"
    assert found["analysis"]["average_color"].startswith("#")
    shares = [entry["share"] for entry in found["analysis"]["dominant_colors"]]
    assert sum(shares) == pytest.approx(1, abs=0.01)
    assert shares == sorted(shares, reverse=True)


async def test_the_worker_looks_at_what_was_stored_however_it_came(studio: Studio) -> None:
    who = studio.photographer()
    await who.send(picture())
    await who.send(bomb(10_000), {"category": "documents"}, path="/api/storage/upload")
    await who.send(b"text", {"category": "documents"}, path="/api/storage/upload")
    runner = TaskRunner(studio.analysis._database, {"image": studio.analysis.analyse})
    running = asyncio.create_task(runner.run())
    while await studio.query("SELECT FROM file_task"):
        await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [item["analysed"] for item in (await who.get("/api/images"))["items"]] == [True, True]


async def test_camera_and_time_but_never_the_place(studio: Studio) -> None:
    who = studio.photographer()
    _, made = await who.send(picture(kind="JPEG", size=(100, 50), exif=exif()))
    await studio.look_at_all()
    found = await who.get(f"/api/images/{made['image_id']}")
    assert (found["width"], found["height"], found["orientation"]) == (50, 100, 6)
    assert found["has_location"] is True
    assert found["analysis"]["camera_make"] == "Harbour Cameras"
    assert found["analysis"]["taken_at"] == "2026:11:21 12:00:00"
    assert "48" not in str([found["analysis"].get(name) for name in ("camera_make", "taken_at", "software")])


async def test_generated_and_reference_images_are_listed_apart(studio: Studio) -> None:
    who = studio.photographer()
    kinds = ["generated", "reference", "generated", None]
    made = [(await who.send(picture(n), {"kind": kind} if kind else {}))[1]["image_id"] for n, kind in enumerate(kinds)]
    await who.send(b"no picture", {"category": "documents"}, path="/api/storage/upload")
    listed = [item["image_id"] for item in (await who.get("/api/images"))["items"]]
    assert listed == made[::-1]
    listed = [item["image_id"] for item in (await who.get("/api/images?kind=generated"))["items"]]
    assert listed == [made[2], made[0]]
    first = await who.get("/api/images?limit=3")
    rest = await who.get(f"/api/images?limit=3&cursor={first['next_cursor']}")
    assert [item["image_id"] for item in first["items"] + rest["items"]] == made[::-1]
    assert rest["next_cursor"] is None
    assert (await studio.photographer().get("/api/images"))["items"] == []


async def test_where_few_are_of_that_kind_a_page_is_short_and_goes_on(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "SCAN", 3)
    who = studio.photographer()
    kinds = ["generated", *["reference"] * 5, "generated"]
    made = [(await who.send(picture(n), {"kind": kind}))[1]["image_id"] for n, kind in enumerate(kinds)]
    found: list[str] = []
    cursor: str | None = ""
    asked = 0
    while cursor is not None:
        page = await who.get(f"/api/images?kind=generated&limit=2{cursor and f'&cursor={cursor}'}")
        found += [item["image_id"] for item in page["items"]]
        cursor, asked = page["next_cursor"], asked + 1
    assert found == [made[6], made[0]]
    assert asked == 3, "no page looks at more than it may"


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that says it is `side` pixels wide and high."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (bomb(10_000), "too_many_pixels"),
        (bomb(100_000), "too_many_pixels"),
        (bomb(2**31 - 1), "too_many_pixels"),
        (bomb(100), "image_broken"),
        (picture(size=(400, 400))[:-2000], "image_broken"),
        (b"\x89PNG\r\n\x1a\n" + bytes(5000), "image_broken"),
        (b"GIF89a" + b"\xff" * 5000, "image_broken"),
    ],
    ids=["100MP", "10GP", "most", "cut", "truncated", "zeros", "gif"],
)
async def test_what_cannot_be_read_is_recorded_and_left(studio: Studio, content: bytes, error: str) -> None:
    who = studio.photographer()
    status, made = await who.send(content)
    assert status == 201
    await studio.look_at_all()  # does not raise: there is nothing to try again
    found = await who.get(f"/api/images/{made['image_id']}")
    assert (found["analysed"], found["error"], found["width"]) == (True, error, None)
    status, answer, _ = await who.call("GET", f"/api/images/{made['image_id']}/thumbnail")
    assert (status, answer["code"]) == (422, error)
    status, answer, _ = await who.call("GET", f"/api/images/{made['image_id']}/similar")
    assert (status, answer["code"], answer["error"]) == (409, "image_not_analysed", error)


def test_a_moving_picture_is_its_first_frame() -> None:
    """Of ten thousand frames one is decoded."""
    frames = [Image.new("L", (200, 200), n % 256) for n in range(300)]
    content = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    found = facts(content)
    assert found.details["animated"]
    assert (found.width, found.height) == (200, 200)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16", "I", "F", "YCbCr", "LAB"])
def test_every_mode(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16))
    else:
        image = Image.radial_gradient("L").convert("RGB").convert(mode) if mode != "LAB" else Image.new("LAB", (64, 64))
    kind = "TIFF" if mode != "PA" else "PNG"
    if mode == "PA":
        image = image.convert("P")
    assert np.linalg.norm(facts(saved(image, kind)).embedding) == pytest.approx(1, abs=1e-3)


def test_sixteen_bits_of_grey_are_grey() -> None:
    image = Image.fromarray(np.full((64, 64), 32768, np.uint16))
    assert facts(saved(image)).details["average_color"] == "#808080"


def test_what_is_transparent_is_white() -> None:
    assert facts(saved(Image.new("RGBA", (64, 64), (255, 0, 0, 0)))).details["average_color"] == "#ffffff"


def variants(content: bytes) -> dict[str, bytes]:
    """What people do to a picture that stays the same."""
    with Image.open(io.BytesIO(content)) as opened:
        image = opened.convert("RGB")
    width, height = image.size
    return {
        "smaller": saved(image.resize((width // 2, height // 2))),
        "squeezed": saved(image, "JPEG", quality=35),
        "brighter": saved(ImageEnhance.Brightness(image).enhance(1.15)),
        "grey": saved(image.convert("L")),
        "cut": saved(image.crop((6, 5, width - 6, height - 5))),
    }


def test_the_same_picture_is_near_and_others_are_not() -> None:
    """The embedding parts variants of a picture from other pictures without a mistake; the hash is the coarser."""
    pictures = [facts(picture(seed, (320, 240))) for seed in range(20)]
    same, same_bits, other, other_bits = [], [], [], []
    for seed, one in enumerate(pictures):
        for name, changed in variants(picture(seed, (320, 240))).items():
            found = facts(changed)
            if name != "grey":
                same.append(float(one.embedding @ found.embedding))
            same_bits.append(rules.hash_distance(one.phash, found.phash))
        for two in pictures[seed + 1 :]:
            other.append(float(one.embedding @ two.embedding))
            other_bits.append(rules.hash_distance(one.phash, two.phash))
    assert min(same) > 0.75 > max(other), (min(same), max(other))
    assert np.median(same_bits) <= 6
    assert np.percentile(same_bits, 95) <= 14 < min(other_bits), (max(same_bits), min(other_bits))


def test_the_hash_is_the_textbooks() -> None:
    """Against the definition, summed by hand."""
    grey = rules.luminance(np.asarray(Image.open(io.BytesIO(picture(4))).resize((32, 32)).convert("RGB")))
    low = np.array(
        [
            [
                sum(
                    grey[y, x] * np.cos(np.pi * (2 * y + 1) * v / 64) * np.cos(np.pi * (2 * x + 1) * u / 64)
                    for y in range(32)
                    for x in range(32)
                )
                for u in range(8)
            ]
            for v in range(8)
        ]
    )
    bits = "".join("1" if value > np.median(low) else "0" for value in low.ravel())
    assert rules.perceptual_hash(grey) & (2**64 - 1) == int(bits, 2)


async def test_similar_images_are_the_tenants_own(studio: Studio) -> None:
    who, stranger = studio.photographer(), studio.photographer()
    original = picture(1, (320, 240))
    ids: dict[str, str] = {}
    for name, content in {"original": original, **variants(original), "other": picture(2, (320, 240))}.items():
        ids[name] = (await who.send(content))[1]["image_id"]
    _, theirs = await stranger.send(original)
    path = f"/api/images/{ids['original']}/similar"
    status, answer, _ = await who.call("GET", path)
    assert (status, answer["code"], answer["error"]) == (409, "image_not_analysed", None)
    await studio.look_at_all()
    found = (await who.get(f"{path}?threshold=0.75"))["items"]
    assert {item["image_id"] for item in found} >= {ids[name] for name in ("smaller", "squeezed", "brighter", "cut")}
    assert ids["other"] not in {item["image_id"] for item in found}
    assert [item["similarity"] for item in found] == sorted((item["similarity"] for item in found), reverse=True)
    assert all(0 <= item["hash_distance"] <= 64 for item in found)
    everything = (await who.get(f"{path}?threshold=0&limit=100"))["items"]
    assert {item["image_id"] for item in everything} <= set(ids.values()) - {ids["original"]}
    assert len((await who.get(f"{path}?threshold=0&limit=2"))["items"]) == 2
    assert (await stranger.call("GET", path))[0] == 404
    assert (await stranger.get(f"/api/images/{theirs['image_id']}/similar?threshold=0"))["items"] == []
    await who.call("DELETE", f"/api/storage/files/{ids['smaller']}")
    found = (await who.get(f"{path}?threshold=0.75"))["items"]
    assert ids["smaller"] not in {item["image_id"] for item in found}


async def test_what_was_found_goes_with_the_file(studio: Studio) -> None:
    who = studio.photographer()
    _, made = await who.send(picture())
    await studio.look_at_all()
    await who.call("DELETE", f"/api/storage/files/{made['image_id']}")
    assert not await studio.query("SELECT FROM image")
    await studio.analysis.analyse(who.tenant, UUID(made["image_id"]))  # its task came late
    assert not await studio.query("SELECT FROM image")
    assert (await who.call("GET", f"/api/images/{made['image_id']}"))[0] == 404


async def test_what_was_found_is_true_of_the_bytes_it_was_found_in(studio: Studio) -> None:
    """Other bytes in the same file's place: nothing is known of them until they are looked at."""
    who = studio.photographer()
    _, made = await who.send(picture())
    await studio.look_at_all()
    await studio.query("UPDATE stored_file SET sha256 = repeat('0', 64)")
    assert (await who.get(f"/api/images/{made['image_id']}"))["analysed"] is False


@pytest.mark.parametrize(("kind", "method"), [("PNG", "open_file"), ("JPEG", "open_file"), ("TIFF", "read")])
async def test_a_store_that_does_not_answer_is_tried_again(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, method: str
) -> None:
    who = studio.photographer()
    _, made = await who.send(picture(kind=kind))

    open_file = LocalStore.open_file

    async def fails_when_read(store: LocalStore, path: str, size: int) -> IO[bytes]:
        found = await open_file(store, path, size)
        folder = os.open(tmp_path, os.O_RDONLY)
        os.dup2(folder, found.fileno())  # which nobody can read
        os.close(folder)
        return found

    def unavailable(*_: object) -> Any:
        raise StoreUnavailable

    broken = {"open_file": fails_when_read, "read": unavailable}
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, method, broken[method])
        with pytest.raises(StoreUnavailable):
            await studio.analysis.analyse(who.tenant, UUID(made["image_id"]))
    assert not await studio.query("SELECT FROM image")


def test_a_model_of_ones_own(tmp_path: Path) -> None:
    """One that averages each colour: the simplest whose result can be known."""
    from onnx import TensorProto, helper, save

    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("GlobalAveragePool", ["pixels"], ["vector"])],
            "mean",
            [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, 32, 48])],
            [helper.make_tensor_value_info("vector", TensorProto.FLOAT, None)],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    save(model, tmp_path / "mean.onnx")
    embedder = OnnxEmbedder(tmp_path / "mean.onnx")
    found = embedder.embed(Image.new("RGB", (100, 100), (255, 0, 128)))
    expected = np.array([(1 - 0.485) / 0.229, -0.456 / 0.224, (128 / 255 - 0.406) / 0.225])
    assert found == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)
    assert embedder.name.startswith("onnx-")


async def test_models_do_not_meet(studio: Studio) -> None:
    """Vectors of another model have other dimensions: they are not compared, and nothing fails."""
    who = studio.photographer()
    made = [(await who.send(picture(seed)))[1]["image_id"] for seed in (1, 1, 2)]
    await studio.look_at_all()
    await studio.query("UPDATE image SET model = 'onnx-x', embedding = '[1,0,0]' WHERE file_id = $1", UUID(made[1]))
    found = (await who.get(f"/api/images/{made[0]}/similar?threshold=0"))["items"]
    assert [item["image_id"] for item in found] == [made[2]]


def test_an_unreadable_thing_says_so() -> None:
    with pytest.raises(Unreadable) as caught:
        facts(b"GIF89a")
    assert caught.value.code == "image_broken"
