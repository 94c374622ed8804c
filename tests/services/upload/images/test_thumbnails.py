"""Smaller pictures: upright, made once, gone with their image, and none too many."""

import asyncio
import io
import threading
import time
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image, ImageOps

from services.upload.blobs.garbage import Garbage
from services.upload.images.decoding import shrink
from services.upload.images.thumbnails import service as thumbnails
from shared.db import Database
from tests.services.upload.images.conftest import Photographer, Studio, form, picture
from tests.services.upload.images.photos import exif


async def sent(studio: Studio, content: bytes | None = None) -> tuple[Photographer, str]:
    who = studio.photographer()
    status, made = await who.send(content or picture(size=(1000, 500)))
    assert status == 201
    return who, f"/api/images/{made['image_id']}"


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


async def test_sizes_on_a_ladder(studio: Studio) -> None:
    who, path = await sent(studio)
    for asked, width in ((64, 64), (65, 128), (129, 256), (300, 400), (401, 800), (801, 1000), (1600, 1000)):
        found = opened(await who.get(f"{path}/thumbnail?size={asked}"))
        assert (found.format, found.size) == ("WEBP", (width, width // 2))
    for size in (63, 1601, -1, "x"):
        assert (await who.call("GET", f"{path}/thumbnail?size={size}"))[0] == 422
    assert len(studio.derived()) == 7


@pytest.mark.parametrize(
    ("size", "part"), [((1600, 1000), 8), ((1000, 1600), 8), ((900, 600), 4), ((9000, 2), 2), ((80, 60), 1)]
)
def test_a_jpeg_is_decoded_no_larger_than_needed(size: tuple[int, int], part: int) -> None:
    """Whichever way it is longer; and looks as if it had been decoded whole."""
    content = picture(3, size, "JPEG", quality=95)
    image: Any = opened(content)
    found, expected = shrink(image, 100), opened(content)
    expected.thumbnail((100, 100), Image.Resampling.LANCZOS, reducing_gap=None)
    assert image.decoderconfig[0] == part
    assert found.size == expected.size
    assert np.abs(np.asarray(found, int) - np.asarray(expected, int)).mean() < 1


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_upright_and_without_a_word(studio: Studio, orientation: int) -> None:
    """All eight ways a camera can be held; nothing that was said of the picture is said of the thumbnail."""
    said = exif()
    said[0x0112] = orientation
    content = picture(5, (400, 200), "JPEG", exif=said, quality=95)
    who, path = await sent(studio, content)
    found = opened(await who.get(f"{path}/thumbnail?size=128"))
    expected = ImageOps.exif_transpose(opened(content))
    expected.thumbnail((128, 128))
    assert found.size == expected.size
    difference = np.abs(np.asarray(found.convert("RGB"), int) - np.asarray(expected.convert("RGB"), int))
    assert difference.mean() < 6
    assert not dict(found.getexif())
    assert not found.info.get("xmp")


async def test_made_once_whoever_asks(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes, forty requests at once."""
    made: list[int] = []
    draw = thumbnails.draw

    def counted(*arguments: Any) -> bytes:
        made.append(1)
        time.sleep(0.1)
        return draw(*arguments)

    monkeypatch.setattr(thumbnails, "draw", counted)
    who, path = await sent(studio)
    other = Photographer(studio.apps[1], who.tenant, who.user)
    found = await asyncio.gather(*((who, other)[n % 2].get(f"{path}/thumbnail?size=128") for n in range(40)))
    assert len(made) == 1
    assert len(set(found)) == 1
    assert len(studio.derived()) == 1


async def test_you_have_it_already(studio: Studio) -> None:
    who, path = await sent(studio)
    _, _, headers = await who.call("GET", f"{path}/thumbnail?size=128")
    assert headers["cache-control"] == "private, max-age=3600"
    assert headers["x-content-type-options"] == "nosniff"
    status, body, again = await who.call(
        "GET", f"{path}/thumbnail?size=100", headers={"If-None-Match": headers["etag"]}
    )
    assert (status, body, again["etag"]) == (304, b"", headers["etag"])
    assert (await who.call("GET", f"{path}/thumbnail?size=200", headers={"If-None-Match": headers["etag"]}))[0] == 200


async def test_not_counted_and_gone_with_the_file(studio: Studio) -> None:
    who, path = await sent(studio)
    before = await who.quota()
    await who.get(f"{path}/thumbnail?size=128")
    await who.get(f"{path}/thumbnail?size=400")
    assert await who.quota() == before
    assert len(studio.derived()) == 2
    await who.call("DELETE", path.replace("/images/", "/storage/files/"))
    assert not await studio.query("SELECT FROM thumbnail")
    async with Database(studio.apps[0].dsn.worker, pool_size=2) as worker:
        await Garbage(worker, studio.analysis._locations).run()
    assert studio.apps[0].blobs() == []
    assert not await studio.query("SELECT FROM blob_garbage")


async def test_of_other_bytes_another_one_is_made(studio: Studio) -> None:
    who, path = await sent(studio)
    first = await who.get(f"{path}/thumbnail?size=128")
    _, other = await who.send(picture(9, (500, 1000)))
    await studio.query(
        "UPDATE stored_file SET (sha256, path, size) = "
        "(SELECT sha256, path || 'x', size FROM stored_file WHERE id = $1) WHERE id <> $1",
        other["image_id"],
    )
    row = (await studio.query("SELECT path FROM stored_file WHERE id <> $1", other["image_id"]))[0]
    blobs = studio.apps[0].root / "blobs"
    (blobs / row["path"]).write_bytes(picture(9, (500, 1000)))
    second = await who.get(f"{path}/thumbnail?size=128")
    assert opened(first).size == (128, 64)
    assert opened(second).size == (64, 128)
    assert [row["size"] for row in await studio.query("SELECT size FROM thumbnail")] == [128]


@pytest.mark.parametrize("when", ["before it is stored", "after it is stored", "by hand"])
async def test_one_that_died_half_made_is_made_again(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    who, path = await sent(studio)

    async def dies(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        if when == "before it is stored":
            patch.setattr(thumbnails.ThumbnailService, "_keep", dies)
        elif when == "after it is stored":
            patch.setattr("services.upload.images.thumbnails.repository.note_made", dies)
        status, _, _ = await who.call("GET", f"{path}/thumbnail?size=128")
        assert status == (200 if when == "by hand" else 500)
    if when == "by hand":
        for blob in studio.derived():
            blob.unlink()
    assert opened(await who.get(f"{path}/thumbnail?size=128")).size == (128, 64)
    assert opened(await who.get(f"{path}/thumbnail?size=128")).size == (128, 64)
    assert len(studio.derived()) == 1


async def test_nobody_elses(studio: Studio) -> None:
    who, path = await sent(studio)
    await who.get(f"{path}/thumbnail?size=128")
    stranger = studio.photographer()
    await stranger.quota()
    answers = [await stranger.call("GET", f"{path}/thumbnail"), await stranger.call("GET", path)]
    assert [(status, body["code"]) for status, body, _ in answers] == [(404, "image_not_found")] * 2
    _, text = await who.send(b"text", {"category": "documents"}, path="/api/storage/upload")
    assert (await who.call("GET", f"/api/images/{text['file_id']}/thumbnail"))[0] == 404


async def test_a_hidden_image_is_not_there(studio: Studio) -> None:
    who, path = await sent(studio)
    for change in ("state = 'scanning'", "state = 'ready', trashed_at = now()", "trashed_at = NULL, version_of = id"):
        await studio.query(f"UPDATE stored_file SET {change}")
        for suffix in ("", "/thumbnail", "/similar"):
            assert (await who.call("GET", path + suffix))[0] == 404
        assert (await who.get("/api/images"))["items"] == []


async def test_the_loop_goes_on_while_one_is_made(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels are decoded in a thread: whoever asks for something else is answered meanwhile."""
    started, release = threading.Event(), threading.Event()
    draw = thumbnails.draw

    def slow(*arguments: Any) -> bytes:
        assert threading.current_thread() is not threading.main_thread()
        started.set()
        assert release.wait(10)
        return draw(*arguments)

    monkeypatch.setattr(thumbnails, "draw", slow)
    who, path = await sent(studio, picture(1, (6000, 4000), "JPEG"))
    making = asyncio.create_task(who.get(f"{path}/thumbnail?size=1600"))
    await asyncio.to_thread(started.wait, 10)
    assert (await who.quota())["used"] > 0
    assert not making.done()
    release.set()
    assert opened(await making).size == (1600, 1067)


async def test_traffic_of_a_project(studio: Studio) -> None:
    who, project = studio.photographer(), str(uuid4())
    status, made, headers = await who.call("POST", "/api/images/upload", data=form(picture(), {"project_id": project}))
    answers = [(status, headers)]
    path = f"/api/images/{made['image_id']}/thumbnail"
    status, _, headers = await who.call("GET", path)
    answers.append((status, headers))
    status, _, headers = await who.call("GET", path, headers={"if-none-match": headers["etag"]})
    answers.append((status, headers))
    assert [status for status, _ in answers] == [201, 200, 304]
    for _, said in answers:
        assert (said["stowage-tenant"], said["stowage-project"]) == (str(who.tenant), project)
