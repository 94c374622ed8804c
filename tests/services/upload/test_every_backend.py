"""Every way in, and all that can be done with a file, on every backend: sums, store and contents agree after each."""

import hashlib
import os
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from tests.fixtures.stores import KINDS
from tests.services.upload.conftest import Billing, Customer, Upload
from tests.services.upload.images.conftest import form, picture
from tests.services.upload.resumable.conftest import BYTES, PATH, Answer, Tus, metadata
from tests.services.upload.test_backends import MIB, clean, objects, prove

on_every_backend = pytest.mark.parametrize("service", KINDS, indirect=True)
# Below what one part of an object store holds, above it, and no multiple of anything.
SIZES = (3, 5 * MIB + 1, 17 * MIB + 11)


@dataclass
class Shelf:
    """A customer's files as they should be."""

    who: Customer
    known: dict[str, bytes] = field(default_factory=dict)

    async def call(self, status: int, method: str, path: str, **options: Any) -> Any:
        got, answer, _ = await self.who.call(method, path, **options)
        assert got == status, (method, path, answer)
        return answer

    async def agrees(self) -> None:
        """Contents, counters, the proof's listing and the store itself."""
        for file, content in self.known.items():
            shown = await self.call(200, "GET", f"/api/storage/files/{file}")
            assert (shown["file_size"], shown["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
            assert await self.call(200, "GET", f"/api/storage/files/{file}/content") == content
        size = sum(map(len, self.known.values()))
        quota = await self.who.quota()
        assert (quota["used"], quota["reserved"]) == (size, 0)
        await clean(self.who.service)
        assert await prove(self.who) == {"bytes": size, "files": len(self.known)}
        found = await objects(self.who.service.settings)
        files = {path: held for path, held in found.items() if not path.startswith("derived/")}
        assert sorted(files.values()) == sorted(map(len, self.known.values()))


@pytest.fixture
def shelf(service: Upload, billing: Billing) -> Shelf:
    billing.limit = 10**9
    return Shelf(service.customer())


@on_every_backend
@pytest.mark.parametrize("size", SIZES)
async def test_raw(shelf: Shelf, size: int) -> None:
    content = os.urandom(size)
    digest = b64encode(hashlib.sha256(content).digest()).decode()
    told = {"Content-Type": "application/octet-stream", "Repr-Digest": f"sha-256=:{digest}:"}
    made = await shelf.call(201, "PUT", "/api/storage/content/documents/raw.bin", data=content, headers=told)
    shelf.known[made["file_id"]] = content

    async def unannounced() -> AsyncIterator[bytes]:
        for start in range(0, size, MIB):
            yield content[start : start + MIB]

    where = "/api/storage/content/documents/streamed.bin"
    made = await shelf.call(201, "PUT", where, data=unannounced(), headers=told)
    shelf.known[made["file_id"]] = content
    wrong = {**told, "Repr-Digest": f"sha-256=:{b64encode(bytes(32)).decode()}:"}
    refused = await shelf.call(422, "PUT", "/api/storage/content/documents/wrong.bin", data=content, headers=wrong)
    assert refused["code"] == "digest_mismatch"
    await shelf.agrees()


async def append(tus: Tus, upload: str, offset: int, data: Any, **headers: str) -> Answer:
    told = {**BYTES, "Upload-Offset": str(offset), **headers}
    return await tus.call("PATCH", f"{PATH}/{upload}", data=data, **told)


@on_every_backend
async def test_in_pieces(shelf: Shelf) -> None:
    """Cut where no part of a store ends; broken off and gone on with; without a length; joined from two; given up."""
    tus, content = Tus(shelf.who), os.urandom(SIZES[-1])
    upload = await tus.begun(len(content))
    for start, end in ((0, 7 * MIB + 5), (7 * MIB + 5, 7 * MIB + 6)):
        answer = await append(tus, upload, start, content[start:end])
        assert (answer.status, answer.offset) == (204, end)
    start = await break_off(tus, upload, content, 7 * MIB + 6, 4 * MIB)
    answer = await append(tus, upload, start, content[start:])
    assert (answer.status, answer.offset) == (204, len(content))
    shelf.known[upload] = content

    unknown = await tus.begun(None)
    answer = await append(tus, unknown, 0, content[: 6 * MIB], **{"Upload-Length": str(6 * MIB)})
    assert answer.status == 204, answer
    shelf.known[unknown] = content[: 6 * MIB]

    parts = [await tus.create(n, content[:n], **{"Upload-Concat": "partial"}) for n in (6 * MIB + 1, 9)]
    paths = " ".join(f"{PATH}/{part.id}" for part in parts)
    final = {"Upload-Concat": f"final;{paths}", "Upload-Metadata": metadata()}
    joined = await tus.call("POST", PATH, **final)
    assert joined.status == 201, joined
    shelf.known[joined.id] = content[: 6 * MIB + 1] + content[:9]

    left = await tus.begun(len(content))
    assert (await append(tus, left, 0, content[: 6 * MIB])).status == 204
    assert (await tus.call("DELETE", f"{PATH}/{left}")).status == 204
    await shelf.agrees()


async def break_off(tus: Tus, upload: str, content: bytes, start: int, size: int) -> int:
    """Sends some of what it announces and hangs up. Returns how much of it is safe in the end."""

    async def body() -> AsyncIterator[bytes]:
        yield content[start : start + size]
        raise ConnectionResetError

    with pytest.raises((aiohttp.ClientError, ConnectionResetError)):
        await append(tus, upload, start, body(), **{"Content-Length": str(len(content) - start)})
    # Nothing at all, sent to the wrong place: its turn comes when the one before it has kept what came.
    told = await append(tus, upload, len(content), b"")
    assert told.status == 409, told
    assert start <= told.offset <= start + size
    assert (await tus.call("HEAD", f"{PATH}/{upload}")).offset == told.offset
    return told.offset


@on_every_backend
async def test_copied_moved_replaced_deleted(shelf: Shelf) -> None:
    large = os.urandom(SIZES[-1])
    for content in (b"small", large):
        status, made = await shelf.who.upload(content, name=f"{len(content)}.bin")
        assert status == 201
        file = made["file_id"]
        shelf.known[file] = content
        where = f"/api/storage/files/{file}"
        copied = await shelf.call(201, "POST", f"{where}/copy", json={"name": "copy.bin"})
        shelf.known[copied["file_id"]] = content
        place = {"category": "projects", "entity_id": "p-1"}
        moved = await shelf.call(200, "PATCH", where, json={"name": "moved.bin", **place})
        assert (moved["file_name"], moved["category"]) == ("moved.bin", "projects")
    await shelf.agrees()
    first, second, third, _ = shelf.known
    for file, content in ((first, large), (third, b"other")):
        await shelf.call(200, "PUT", f"/api/storage/files/{file}/content", data=content)
        shelf.known[file] = content
    await shelf.call(204, "DELETE", f"/api/storage/files/{second}")
    del shelf.known[second]
    await shelf.agrees()


@on_every_backend
async def test_read_in_ranges(shelf: Shelf) -> None:
    content = os.urandom(SIZES[1])
    _, made = await shelf.who.upload(content)
    where = f"/api/storage/files/{made['file_id']}/content"
    for asked, expected in (("0-0", content[:1]), (f"{5 * MIB}-", content[5 * MIB :]), ("-7", content[-7:])):
        assert await shelf.call(206, "GET", where, headers={"Range": f"bytes={asked}"}) == expected
    several = await shelf.call(206, "GET", where, headers={"Range": f"bytes=1-2,{MIB}-{MIB + 3}"})
    assert content[1:3] in several
    assert content[MIB : MIB + 4] in several
    await shelf.call(416, "GET", where, headers={"Range": f"bytes={len(content)}-"})


@on_every_backend
async def test_images(shelf: Shelf, billing: Billing) -> None:
    billing.images, content = 5, picture(7, (900, 600))
    made = await shelf.call(201, "POST", "/api/images/upload", data=form(content, {}))
    shelf.known[made["image_id"]] = content
    where = f"/api/images/{made['image_id']}/thumbnail?size=128"
    first = await shelf.call(200, "GET", where)
    assert (first[:4], first[8:12]) == (b"RIFF", b"WEBP")
    assert await shelf.call(200, "GET", where) == first
    await shelf.agrees()
    derived = [path for path in await objects(shelf.who.service.settings) if path.startswith("derived/")]
    assert len(derived) == 1
    await shelf.call(204, "DELETE", f"/api/storage/files/{made['image_id']}")
    shelf.known.clear()
    await shelf.agrees()
    assert await objects(shelf.who.service.settings) == {}
