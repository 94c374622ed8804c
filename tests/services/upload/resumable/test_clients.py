"""Clients as their users have them: tuspy, tus-js-client, Uppy."""

import asyncio
import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tusclient.client import TusClient

from tests.fixtures.parts import NPM
from tests.services.upload.conftest import Billing
from tests.services.upload.resumable.conftest import PATH, Tus

SCRIPT = Path(__file__).with_name("clients.mjs")
METADATA = {"filename": "träume.txt", "filetype": "text/plain", "category": "documents"}
SIZE = 777_777
CONTENT = (b"stowage " * (SIZE // 8 + 1))[:SIZE]


async def node(tus: Tus, way: str, **said: Any) -> dict[str, Any]:
    settings = tus.who.service.settings
    told = {"endpoint": f"{settings.base_url}{PATH}", "token": tus.who.token, "way": way, "size": SIZE}
    words = [str(SCRIPT), str(NPM), json.dumps({"metadata": METADATA, **told, **said})]
    process = await asyncio.create_subprocess_exec(
        shutil.which("node") or "node", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, error = await process.communicate()
    assert process.returncode == 0, error.decode()
    answer: dict[str, Any] = json.loads(out.decode().splitlines()[-1])
    return answer


async def stored(tus: Tus, url: str) -> dict[str, Any]:
    """The file, which must be the one that was sent."""
    head = await tus.head(url.rsplit("/", 1)[1])
    _, file, _ = await tus.who.call("GET", f"/api/storage/files/{head.headers['x-file-id']}")
    assert (file["file_size"], file["sha256"]) == (SIZE, hashlib.sha256(CONTENT).hexdigest())
    account = await tus.who.service.account(tus.who.tenant)
    assert account["reserved"] == 0
    return dict(file)


@pytest.mark.usefixtures("tus_js")
@pytest.mark.parametrize(
    ("way", "requests"),
    [
        ("plain", ["POST 201", *["PATCH 204"] * 8]),
        ("creation", ["POST 201", *["PATCH 204"] * 7]),
        ("whole", ["POST 201"]),
        ("override", ["POST 201", *["POST 204"] * 8]),
        ("deferred", ["POST 201", *["PATCH 204"] * 16]),
    ],
)
async def test_tus_js_client(tus: Tus, way: str, requests: list[str]) -> None:
    answer = await node(tus, way)
    assert answer["requests"] == requests
    file = await stored(tus, answer["urls"][0])
    assert (file["file_name"], file["category"]) == ("träume.txt", "documents")


@pytest.mark.usefixtures("tus_js")
async def test_tus_js_client_in_parallel(tus: Tus) -> None:
    answer = await node(tus, "parallel")
    assert answer["requests"].count("POST 201") == 5
    await stored(tus, answer["urls"][0])
    assert len(tus.who.service.blobs()) == 1


@pytest.mark.usefixtures("tus_js")
async def test_tus_js_client_comes_back(tus: Tus) -> None:
    answer = await node(tus, "resumed")
    assert "HEAD 200" in answer["requests"]
    await stored(tus, answer["urls"][0])


@pytest.mark.usefixtures("tus_js")
async def test_tus_js_client_gives_up(tus: Tus) -> None:
    answer = await node(tus, "terminated")
    assert (await tus.head(answer["urls"][0].rsplit("/", 1)[1])).status == 404
    assert tus.who.service.blobs() == []
    assert await tus.held() == 0


@pytest.mark.usefixtures("uppy")
async def test_uppy(tus: Tus, billing: Billing) -> None:
    billing.limit = 2 * SIZE
    answer = await node(tus, "uppy", metadata={"category": "documents", "subcategory": "leases"})
    names = {(await stored(tus, url))["file_name"] for url in answer["urls"]}
    assert names == {"one.txt", "two.txt"}


async def test_tuspy(tus: Tus) -> None:
    settings = tus.who.service.settings

    def send() -> str:
        client = TusClient(f"{settings.base_url}{PATH}", headers={"stowage-internal": tus.who.token})
        first = client.uploader(file_stream=io.BytesIO(CONTENT), chunk_size=100_000, metadata=METADATA)
        first.upload_chunk()  # type: ignore[no-untyped-call]
        again = client.uploader(
            file_stream=io.BytesIO(CONTENT), url=first.url, chunk_size=200_000, upload_checksum=True
        )
        assert again.offset == 100_000
        again.upload()
        return str(again.url)

    file = await stored(tus, await asyncio.to_thread(send))
    assert file["file_name"] == "träume.txt"
