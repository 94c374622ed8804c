"""Where a photo was taken is taken out whatever way it comes in, on every backend, or nothing of it is kept."""

import hashlib
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.fixtures.stores import KINDS
from tests.services.upload.conftest import Billing, Upload
from tests.services.upload.direct.clients import OPEN, complete, form, send
from tests.services.upload.direct.conftest import cleanup_of
from tests.services.upload.images.conftest import Photographer
from tests.services.upload.images.conftest import form as upload_form
from tests.services.upload.images.photos import MAKE, ORIENTATION, contains_place, photo, same_pixels, told
from tests.services.upload.resumable.conftest import PATH, Tus, metadata
from tests.services.upload.test_backends import objects
from tests.services.upload.test_every_backend import Shelf

on_every_backend = pytest.mark.parametrize("service", KINDS, indirect=True)
CALLED = {"JPEG": "a.jpg", "PNG": "a.png"}
PDF = b"%PDF-1.7 " + bytes(3000)


@dataclass
class Refused(Exception):
    status: int
    code: str


@dataclass
class Sender:
    """Sends one file by every way there is, and asks that it lose its location. Each way gives the file's id."""

    who: Photographer
    name: str

    @property
    def service(self) -> Upload:
        return self.who.service

    async def call(self, method: str, path: str, **options: Any) -> tuple[Any, dict[str, str]]:
        status, answer, headers = await self.who.call(method, path, **options)
        if status >= 300:
            raise Refused(status, answer["code"])
        return answer, headers

    async def form(self, content: bytes) -> str:
        fields = {"strip_location": "true", "category": "documents"}
        data = upload_form(content, fields, self.name)
        return str((await self.call("POST", "/api/storage/upload", data=data))[0]["file_id"])

    async def image(self, content: bytes) -> str:
        data = upload_form(content, {"strip_location": "true"}, self.name)
        return str((await self.call("POST", "/api/images/upload", data=data))[0]["image_id"])

    async def raw(self, content: bytes) -> str:
        """With the sha256 of what is sent, which is not that of what is kept."""
        digest = {"Repr-Digest": f"sha-256=:{b64encode(hashlib.sha256(content).digest()).decode()}:"}
        path = f"/api/storage/content/documents/{self.name}?strip_location=true"
        return str((await self.call("PUT", path, data=content, headers=digest))[0]["file_id"])

    async def replace(self, content: bytes) -> str:
        made, _ = await self.call("PUT", f"/api/storage/content/projects/{self.name}", data=photo("GIF"))
        path = f"/api/storage/files/{made['file_id']}/content?strip_location=true"
        try:
            return str((await self.call("PUT", path, data=content))[0]["file_id"])
        except Refused:
            assert (await self.call("GET", path))[0] == photo("GIF")
            await self.call("DELETE", f"/api/storage/files/{made['file_id']}")
            raise

    async def copy(self, content: bytes) -> str:
        made, _ = await self.call("PUT", f"/api/storage/content/projects/copied-{self.name}", data=content)
        try:
            body = {"strip_location": True, "category": "documents"}
            copied, _ = await self.call("POST", f"/api/storage/files/{made['file_id']}/copy", json=body)
        finally:
            await self.call("DELETE", f"/api/storage/files/{made['file_id']}")
        return str(copied["file_id"])

    async def tus_at_once(self, content: bytes) -> str:
        return (await self._create(len(content), content))["x-file-id"]

    async def tus_in_pieces(self, content: bytes) -> str:
        return await self._append(await self._create(len(content)), content)

    async def tus_gone_on_with(self, content: bytes) -> str:
        """Some of it when it is created."""
        made = await self._create(len(content), content[:1000])
        return await self._append(made, content, 1000)

    async def tus_without_a_length(self, content: bytes) -> str:
        """Said with the last piece."""
        made = await self._create(None, content[:1000])
        return await self._append(made, content, 1000, **{"Upload-Length": str(len(content))})

    async def tus_joined(self, content: bytes) -> str:
        """Parts say nothing of it."""
        tus, addresses = Tus(self.who), []
        for part in (content[:1000], content[1000:]):
            made = await tus.create(len(part), part, **{"Upload-Concat": "partial", "Upload-Metadata": ""})
            addresses.append(f"{PATH}/{made.id}")
        try:
            return (await self._create(None, concat=f"final;{' '.join(addresses)}"))["x-file-id"]
        except Refused:
            for address in addresses:
                await tus.call("DELETE", address)
            raise

    async def direct(self, content: bytes, *, multipart: bool = False) -> str:
        said: dict[str, Any] = {
            "content_type": "application/octet-stream",
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        said |= {"file_name": self.name, "strip_location": True, "multipart": multipart}
        said |= {"category": "documents", "file_size": len(content)}
        made, _ = await self.call("POST", OPEN, json=said)
        assert await send(self.service.http, made, content) in {200, 201, 204}
        status, answer, _ = await complete(self.who, made["upload_id"])
        if status >= 300:
            raise Refused(status, answer["code"])
        return str(answer["file_id"])

    async def direct_in_parts(self, content: bytes) -> str:
        return await self.direct(content, multipart=True)

    async def uppy_form(self, content: bytes) -> str:
        """Nobody says that it is done: the worker sees it."""
        said = {"category": "documents", "size": len(content), "strip_location": "true"}
        query = urlencode({"filename": self.name, **{f"metadata[{key}]": value for key, value in said.items()}})
        offered, _ = await self.call("GET", f"/api/storage/s3/params?{query}")
        kind, body = form(offered["fields"], content)
        async with self.service.http.post(offered["url"], data=body, headers={"Content-Type": kind}) as answer:
            assert answer.status == 201
        async with cleanup_of(self.service) as cleanup:
            await cleanup.collect()
        upload = offered["fields"]["key"].split("/")[1]
        state, _ = await self.call("GET", f"/api/storage/direct-uploads/{upload}")
        if state["problem"]:
            raise Refused(state["problem"]["status"], state["problem"]["code"])
        return str(state["file_id"])

    async def uppy_parts(self, content: bytes) -> str:
        """Uppy says no size."""
        meta = {"category": "documents", "strip_location": True}
        body = {"filename": self.name, "type": "application/octet-stream", "metadata": meta}
        made, _ = await self.call("POST", "/api/storage/s3/multipart", json=body)
        path = f"/api/storage/s3/multipart/{made['uploadId']}"
        signed, _ = await self.call("GET", f"{path}/1")
        async with self.service.http.put(signed["url"], data=content) as answer:
            parts = [{"PartNumber": 1, "ETag": answer.headers["ETag"]}]
        return str((await self.call("POST", f"{path}/complete", json={"parts": parts}))[0]["file_id"])

    async def _create(self, length: int | None, data: bytes | None = None, concat: str | None = None) -> dict[str, str]:
        said = metadata(filename=self.name, filetype="application/octet-stream", strip_location="true")
        if concat is not None:
            headers = {"Upload-Concat": concat, "Upload-Metadata": said}
            made = await Tus(self.who).call("POST", PATH, **headers)
        else:
            made = await Tus(self.who).create(length, data, **{"Upload-Metadata": said})
        if made.status >= 300:
            raise Refused(made.status, made.code)
        return made.headers

    async def _append(self, made: dict[str, str], content: bytes, offset: int = 0, **headers: str) -> str:
        upload = made["location"].rsplit("/", 1)[1]
        for start in range(offset, len(content), 1500):
            answer = await Tus(self.who).patch(upload, start, content[start : start + 1500], **headers)
            if answer.status >= 300:
                await Tus(self.who).delete(upload)  # one of which too much was announced would wait for less
                raise Refused(answer.status, answer.code)
        return answer.headers["x-file-id"]


Way = Callable[[Sender, bytes], Awaitable[str]]


def ways(service: Upload) -> list[Way]:
    kind = service.settings.storage_backend
    anywhere: list[Way] = [Sender.form, Sender.image, Sender.raw, Sender.replace, Sender.copy, Sender.direct]
    anywhere += [Sender.tus_at_once, Sender.tus_in_pieces, Sender.tus_gone_on_with, Sender.tus_without_a_length]
    anywhere += [Sender.tus_joined]
    in_parts: list[Way] = [Sender.direct_in_parts] if kind in {"s3", "azure"} else []
    return anywhere + in_parts + ([Sender.uppy_form, Sender.uppy_parts] if kind == "s3" else [])


@pytest.fixture
def shelf(service: Upload, billing: Billing) -> Shelf:
    billing.limit, billing.images = 10**9, 50
    customer = service.customer()
    return Shelf(Photographer(service, customer.tenant, customer.user))


def sender(shelf: Shelf, name: str) -> Sender:
    assert isinstance(shelf.who, Photographer)
    return Sender(shelf.who, name)


@on_every_backend
@pytest.mark.parametrize("kind", CALLED)
async def test_whatever_way_it_comes(shelf: Shelf, kind: str) -> None:
    """Size and sha256 are those of what is kept; the sums, the ledger and the store itself have no byte more."""
    before = photo(kind, quality=95) if kind == "JPEG" else photo(kind)
    assert contains_place(before)
    for way in ways(shelf.who.service):
        file = await way(sender(shelf, CALLED[kind]), before)
        status, kept, _ = await shelf.who.call("GET", f"/api/storage/files/{file}/content")
        assert (status, contains_place(kept)) == (200, False), way.__name__
        tags, gps, _ = told(kept)
        assert (tags[MAKE], tags[ORIENTATION], gps) == ("Harbour Cameras", 6, {}), way.__name__
        assert same_pixels(before, kept)
        shelf.known[file] = kept
    await shelf.agrees()
    left = await objects(shelf.who.service.settings)
    assert [path for path in left if not path.startswith("customers/")] == []


@on_every_backend
async def test_what_cannot_lose_its_location_is_not_kept(shelf: Shelf) -> None:
    """It is no image; it is cut short; it is larger than what is waited for."""
    jpeg = photo("JPEG", quality=95)
    for way in ways(shelf.who.service):
        if way is not Sender.image:
            assert await refusal(way, sender(shelf, "a.pdf"), PDF) == Refused(422, "location_not_removable")
        assert await refusal(way, sender(shelf, "a.png"), photo("PNG")[:-30]) == Refused(422, "location_not_removable")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("services.upload.intake.stripped.LIMIT", len(jpeg) - 1)
            assert await refusal(way, sender(shelf, "a.jpg"), jpeg) == Refused(413, "file_too_large")
    await shelf.agrees()
    assert await objects(shelf.who.service.settings) == {}


async def refusal(way: Way, by: Sender, content: bytes) -> Refused:
    try:
        await way(by, content)
    except Refused as refused:
        return refused
    raise AssertionError(f"{way.__name__} took it")
