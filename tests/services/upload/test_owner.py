"""Every answer that carries a file's bytes, or takes them, says whose they are, or traffic would find no project."""

from base64 import b64encode
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import FormData

from tests.services.upload.conftest import Upload
from tests.services.upload.direct.clients import offer, through_the_gateway

CONTENT = b"plan of the harbour"
TUS = "/api/storage/uploads"


def owner(headers: dict[str, str]) -> tuple[str | None, str | None]:
    return headers.get("stowage-tenant"), headers.get("stowage-project")


@pytest.mark.parametrize("project", ["00000000-0000-7000-8000-000000000005", None])
async def test_what_is_read(service: Upload, project: str | None) -> None:
    ada, stranger = service.customer(), service.customer()
    _, made = await ada.upload(CONTENT, fields={} if project is None else {"project_id": project})
    path = f"/api/storage/files/{made['file_id']}"
    link = (await ada.call("GET", f"{path}/url"))[1]["url"].removeprefix(service.url)
    for who, method, target, headers, status in (
        (ada, "GET", f"{path}/content", {}, 200),
        (ada, "HEAD", f"{path}/content", {}, 200),
        (ada, "GET", f"{path}/content", {"range": "bytes=0-3"}, 206),
        (ada, "GET", f"{path}/content", {"range": "bytes=0-1,5-6"}, 206),
        (ada, "GET", f"{path}/content", {"if-none-match": f'"{made["sha256"]}"'}, 304),
        (stranger, "GET", link, {}, 200),
        (stranger, "HEAD", link, {}, 200),
    ):
        found, _, said = await who.call(method, target, headers=headers)
        assert (found, *owner(said)) == (status, str(ada.tenant), project), (method, target)


async def test_what_is_stored(service: Upload) -> None:
    ada, project = service.customer(), str(uuid4())
    mine = (str(ada.tenant), project)
    put = f"/api/storage/content/documents/a.txt?project_id={project}"
    for status in (201, 200):  # new, then replaced
        found, _, said = await ada.call("PUT", put, data=CONTENT)
        assert (found, *owner(said)) == (status, *mine)
    key = {"Idempotency-Key": "k"}
    form: dict[str, str | bytes] = {"category": "documents", "project_id": project, "file": CONTENT}
    for _ in range(2):  # stored, then repeated
        found, _, said = await ada.call("POST", "/api/storage/upload", data=_form(form), headers=key)
        assert (found, *owner(said)) == (201, *mine)


async def test_what_comes_in_pieces(service: Upload) -> None:
    ada, project = service.customer(), str(uuid4())
    metadata = {"filename": "a.txt", "category": "documents", "project_id": project}
    said = ",".join(f"{name} {b64encode(value.encode()).decode()}" for name, value in metadata.items())
    version = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}
    create = {"Upload-Length": str(len(CONTENT)), "Upload-Metadata": said}
    status, _, made = await ada.call("POST", TUS, headers=version | create)
    assert (status, *owner(made)) == (201, str(ada.tenant), project)
    path = made["location"].removeprefix(service.url)
    path = path[path.index(TUS) :]
    for offset, piece in ((0, CONTENT[:5]), (5, CONTENT[5:])):
        headers = version | {"Upload-Offset": str(offset)}
        status, _, answered = await ada.call("PATCH", path, data=piece, headers=headers)
        assert (status, *owner(answered)) == (204, str(ada.tenant), project)
    status, _, answered = await ada.call("HEAD", path, headers=version)
    assert (status, *owner(answered)) == (200, str(ada.tenant), project)


async def test_what_goes_to_a_signed_url(service: Upload) -> None:
    ada, project = service.customer(), str(uuid4())
    for fields, wanted in (({"project_id": project}, project), ({}, None)):
        made = await offer(ada, len(CONTENT), **fields)
        nobody = through_the_gateway()
        async with service.http.put(made["url"], data=CONTENT, headers=made["headers"] | nobody) as answer:
            found: dict[str, Any] = {name.lower(): value for name, value in answer.headers.items()}
            assert (answer.status, *owner(found)) == (204, str(ada.tenant), wanted)
        async with service.http.put(made["url"], data=CONTENT + b"!", headers=made["headers"] | nobody) as answer:
            found = {name.lower(): value for name, value in answer.headers.items()}
            assert (answer.status >= 400, *owner(found)) == (True, str(ada.tenant), None)


def _form(fields: dict[str, str | bytes]) -> Any:
    form = FormData()
    for name, value in fields.items():
        form.add_field(name, value, filename="a.txt" if isinstance(value, bytes) else None)
    return form
