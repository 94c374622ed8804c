"""The category of images has no side door: what is in it was counted."""

from typing import Any
from uuid import uuid4

import pytest

from tests.services.upload.images.conftest import Photographer, Studio, form, picture
from tests.services.upload.resumable.conftest import metadata

PICTURE = picture()
TUS = {"Tus-Resumable": "1.0.0"}
SAID = {"file_name": "a.png", "file_size": len(PICTURE), "content_type": "image/png"}


def tus(category: str, **headers: str) -> dict[str, Any]:
    said = metadata(filename="a.png", filetype="image/png", category=category)
    return {"headers": {**TUS, "Upload-Metadata": said, **headers}}


WAYS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "form": ("POST", "/api/storage/upload", {"data": lambda: form(PICTURE, {"category": "images"})}),
    "raw": ("PUT", "/api/storage/content/images/a.png", {"data": PICTURE}),
    "tus": ("POST", "/api/storage/uploads", tus("images", **{"Upload-Length": "10"})),
    "tus of no length": ("POST", "/api/storage/uploads", tus("images", **{"Upload-Defer-Length": "1"})),
    "tus of parts": (
        "POST",
        "/api/storage/uploads",
        tus("images", **{"Upload-Concat": f"final;/api/storage/uploads/{uuid4()}"}),
    ),
    "direct": ("POST", "/api/storage/direct-uploads", {"json": {**SAID, "category": "images"}}),
    "uppy": (
        "POST",
        "/api/storage/s3/multipart",
        {"json": {"filename": "a.png", "type": "image/png", "metadata": {"category": "images", "size": 10}}},
    ),
}


@pytest.mark.parametrize("way", WAYS)
async def test_no_other_way_in(studio: Studio, way: str) -> None:
    studio.billing.images = 0
    who = studio.photographer()
    method, path, options = WAYS[way]
    data = options.get("data")
    options = {**options, "data": data() if callable(data) else data}
    status, answer, _ = await who.call(method, path, **options)
    assert (status, answer["code"]) == (422, "image_upload_required"), answer
    assert not await studio.query("SELECT FROM stored_file")
    assert not await studio.query("SELECT FROM reservation")


async def test_nothing_is_taken_there_and_nothing_changed(studio: Studio) -> None:
    studio.billing.images = 1
    who = studio.photographer()
    _, document = await who.send(PICTURE, {"category": "documents"}, path="/api/storage/upload")
    _, image = await who.send(PICTURE)
    for method, file, end, options in (
        ("PATCH", document["file_id"], "", {"json": {"category": "images"}}),
        ("POST", document["file_id"], "/copy", {"json": {"category": "images"}}),
        ("PUT", image["image_id"], "/content", {"data": picture(2)}),
    ):
        await refused(who, method, f"/api/storage/files/{file}{end}", **options)
    assert (await who.get(f"/api/storage/files/{image['image_id']}/content")) == PICTURE
    moved = {"ids": [document["file_id"]], "category": "images"}
    status, answer, _ = await who.call("POST", "/api/storage/files/move", json=moved)
    assert "image_upload_required" in str(answer), (status, answer)
    listed = await who.get("/api/storage/files?category=images")
    assert [item["file_id"] for item in listed["items"]] == [image["image_id"]]


async def test_within_it_an_image_is_renamed_and_copied(studio: Studio) -> None:
    studio.billing.images = 1
    who = studio.photographer()
    _, image = await who.send(PICTURE)
    path = f"/api/storage/files/{image['image_id']}"
    assert (await who.call("PATCH", path, json={"name": "b.png"}))[0] == 200
    assert (await who.call("POST", f"{path}/copy", json={"name": "c.png"}))[0] == 201
    assert (await who.call("PATCH", path, json={"category": "documents"}))[0] == 200
    await refused(who, "PATCH", path, json={"category": "images"})
    assert (await who.image_quota())["quota_info"]["quota_used"] == 1


async def refused(who: Photographer, method: str, path: str, **options: Any) -> None:
    status, answer, _ = await who.call(method, path, **options)
    assert (status, answer["code"]) == (422, "image_upload_required"), answer
