"""Every way a file can come in, and go, as a client takes it: each says stored, refused, freed, or breaks off."""

import asyncio
import io
import json
import random
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

import aiohttp

from services.upload.direct.rules import LEAST_PART
from shared.security import Principal, sign
from tests.services.upload.direct.clients import OPEN
from tests.services.upload.direct.clients import form as form_of

REFUSED, NO_IMAGE_LEFT, STORED, BROKEN = 413, 403, 201, 0
FREED = -1  # deleted, given up or left behind: it takes no space, or soon will not
PIECE = 70_000  # bytes of a PATCH
PICTURE = 900  # bytes of the smallest image


@dataclass(frozen=True, slots=True)
class Order:
    """A file of `size` bytes, by its own number. `before`: bytes of the file it takes the place of. `content`: what it
    has instead of a letter again and again, and `.png` for an ending.
    """

    number: int
    way: "Way"
    size: int
    before: int | None = None
    content: bytes | None = None

    @property
    def name(self) -> str:
        picture = self.way is Client.image or self.content is not None
        return f"{self.number:06d} Straße.{'png' if picture else 'bin'}"

    def body(self, letter: bytes) -> bytes:
        return letter * self.size if self.content is None else self.content

    @property
    def address(self) -> str:
        return f"/api/storage/content/documents/a/{quote(self.name)}"

    @property
    def need(self) -> int:
        """Bytes by which the sum grows."""
        return self.size - (self.before or 0)


@dataclass
class Client:
    """One of many of the same tenant. `urls`: the processes there are, which take turns.

    With `back`, which waits until all processes are there, it asks again where no answer came, with the same key where
    the way takes one. `ids` of the files that are copied and replaced, by name, are known to all, and so are those of
    the uploads that were `left` behind. `refusals` are the problems it was told.
    """

    http: aiohttp.ClientSession
    urls: list[str]
    tenant: UUID
    secret: str
    chance: random.Random
    ids: dict[str, str]
    back: Callable[[], Awaitable[None]] | None = None
    repeats: int = 0
    refusals: list[dict[str, Any]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @cached_property
    def _token(self) -> str:
        who = Principal(kind="user", user_id=self.tenant, tenant_id=self.tenant, tenant_slug="t", role="owner")
        return sign(who, secret=self.secret, audience="upload", issuer="gateway", lifetime=86_400)

    async def call(
        self,
        method: str,
        path: str,
        data: Callable[[], Any] | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        known: Callable[[], Awaitable[bool]] | None = None,
    ) -> tuple[int, Any, Any]:
        """`known` finds out whether what got no answer was done, where asking again would do it twice."""
        while True:
            answer = await self._try(method, path, data() if callable(data) else data, headers or {})
            if answer[0] != BROKEN or self.back is None:
                self.refusals += [answer[1]] if answer[0] >= 400 and isinstance(answer[1], dict) else []
                return answer
            self.repeats += 1
            await self.back()  # what a dead process had told the database is done by then
            if known is not None and await known():
                return STORED, None, {}

    async def form(self, order: Order) -> int:
        return await self._send_form("/api/storage/upload", order, order.body(b"f"), category="documents")

    async def image(self, order: Order) -> int:
        content = order.content or _PNG + bytes(order.size - len(_PNG))
        return await self._send_form("/api/images/upload", order, content)

    async def raw(self, order: Order) -> int:
        said = {"Idempotency-Key": f"raw {order.number}"}
        status, body, _ = await self.call("PUT", order.address, order.body(b"r"), said)
        if status in {200, 201}:
            self.ids[order.name] = body["file_id"]
        return status

    async def tus_at_once(self, order: Order) -> int:
        return (await self._create(order, order.size, order.body(b"t")))[0]

    async def tus_in_pieces(self, order: Order) -> int:
        status, path = await self._create(order, order.size)
        return await self._append(path, order.body(b"p")) if status == STORED and order.size else status

    async def tus_joined(self, order: Order) -> int:
        """Of two parts, sent one after the other."""
        paths: list[str] = []
        content, third = order.body(b"p"), order.size // 3
        for part in (content[:third], content[third:]):
            status, path = await self._create(order, len(part), concat="partial")
            paths += [path] if status == STORED else []
            if status == STORED and part:
                status = await self._append(path, part)
            if status != STORED:
                break
        else:
            status, _ = await self._create(order, None, concat=f"final;{' '.join(paths)}")
        if status != STORED:
            for begun in paths:
                await self.call("DELETE", begun, headers=_TUS)
        return status

    async def direct(self, order: Order) -> int:
        """In one piece, as the store takes it."""
        status, path = await self._direct(order)
        return await self._complete(path) if status == STORED else status

    async def direct_in_parts(self, order: Order) -> int:
        status, path, parts = await self._direct_parts(order)
        if status != STORED:
            return status
        return await self._complete(path, parts=[{"number": number, "etag": tag} for number, tag in parts])

    async def uppy_form(self, order: Order) -> int:
        """Nobody says that it has been sent: the worker finds it."""
        said = {"filename": order.name, "type": _BINARY, "metadata[category]": "documents"}
        query = urlencode({**said, "metadata[size]": order.size})
        status, offer, _ = await self.call("GET", f"{_UPPY}/params?{query}")
        if status != 200:
            return status
        status = await self._send(offer, order.body(b"u"))
        async with asyncio.timeout(60):
            while status == STORED and not await self._knows(order):
                await asyncio.sleep(0.1)
        return status

    async def uppy_in_parts(self, order: Order) -> int:
        """As the plugin does: each part signed by itself, all listed, then completed."""
        status, path = await self._uppy_parts(order, {"size": order.size})
        return await self._uppy_complete(path) if status == STORED else status

    async def uppy_without_size(self, order: Order) -> int:
        """Held space for part by part."""
        status, path = await self._uppy_parts(order, {})
        status = await self._uppy_complete(path) if status == STORED else status
        if status == REFUSED and path:
            await self.call("DELETE", path)
        return status

    async def copy(self, order: Order) -> int:
        """Of a file of that size."""
        path = f"/api/storage/files/{self.ids[str(order.size)]}/copy"
        return (await self._post(path, {"name": order.name}, {"Idempotency-Key": f"copy {order.number}"}))[0]

    async def put_over(self, order: Order) -> int:
        """At its address; of those that come again only the first finds the old bytes."""
        old = sha256(b"r" * (order.before or 0)).hexdigest()
        said = {"Idempotency-Key": f"over {order.number}", "If-Match": f'"{old}"'}
        return (await self.call("PUT", order.address, b"o" * order.size, said))[0]

    async def replace(self, order: Order) -> int:
        """By its id."""
        path = f"/api/storage/files/{self.ids[order.name]}/content"
        return (await self.call("PUT", path, b"R" * order.size))[0]

    async def restore(self, order: Order) -> int:
        """Into the trash and back, unless somebody empties it meanwhile."""
        path = f"/api/storage/files/{self.ids[order.name]}"
        status = await self._delete(path)
        if status != FREED:
            return status
        status, _, _ = await self.call("POST", f"{path}/restore")
        if status not in {200, 404}:  # 404: it came back the first time, or it is gone
            return status
        status, found, _ = await self.call("GET", path)
        if status == 200:
            assert found["trashed_at"] is None, found
        return FREED if status == 404 else status

    async def trash(self, order: Order) -> int:
        return await self._delete(f"/api/storage/files/{self.ids[order.name]}")

    async def remove(self, order: Order) -> int:
        """At once and for good."""
        return await self._delete(f"/api/storage/files/{self.ids[order.name]}?permanent=true")

    async def empty(self, _order: Order) -> int:
        """The trash of all."""
        while True:
            status, emptied, _ = await self.call("DELETE", "/api/storage/trash")
            if status != 200 or emptied["complete"]:
                return FREED if status == 200 else status

    async def direct_aborted(self, order: Order) -> int:
        status, path = await self._direct(order)
        return await self._delete(path) if status == STORED else status

    async def direct_left(self, order: Order) -> int:
        """Sent and never completed."""
        status, path = await self._direct(order)
        return self._leave(path) if status == STORED else status

    async def tus_left(self, order: Order) -> int:
        """After the first piece."""
        status, path = await self._create(order, order.size)
        if status != STORED:
            return status
        said = {**_TUS, **_BYTES, "Upload-Offset": "0"}
        status, _, _ = await self.call("PATCH", path, b"l" * (order.size // 2), said)
        return self._leave(path) if status == 204 or (status == 409 and self.back) else status

    async def parts_aborted(self, order: Order) -> int:
        status, path = await self._uppy_parts(order, {"size": order.size})
        return await self._delete(path) if status == STORED else status

    async def parts_left(self, order: Order) -> int:
        status, path, _ = await self._direct_parts(order)
        return self._leave(path) if status == STORED else status

    async def _delete(self, path: str) -> int:
        """Of those that come again only the first finds something."""
        status, _, _ = await self.call("DELETE", path)
        return FREED if status in {200, 204} or (status == 404 and self.back) else status

    def _leave(self, path: str) -> int:
        self.left.append(path.rsplit("/", 1)[-1])
        return FREED

    async def _try(self, method: str, path: str, data: Any, said: Mapping[str, str]) -> tuple[int, Any, Any]:
        if isinstance(data, bytes) and len(data) > 2**20:
            data = io.BytesIO(data)  # aiohttp warns of large ones in one piece
        url = path if path.startswith("http") else self.chance.choice(self.urls) + path
        ours = url.startswith(tuple(self.urls))  # and not the store's
        headers = {"stowage-internal": self._token, **said} if ours else dict(said)
        try:
            async with self.http.request(method, url, data=data, headers=headers) as answer:
                body = await answer.json() if "json" in answer.headers.get("content-type", "") else await answer.read()
                return answer.status, body, answer.headers
        except (aiohttp.ClientError, OSError):
            return BROKEN, None, {}

    async def _send_form(self, path: str, order: Order, content: bytes, **fields: str) -> int:
        def form() -> aiohttp.FormData:
            made = aiohttp.FormData(fields, quote_fields=False)
            made.add_field("file", content, filename=order.name)
            return made

        said = {"X-File-Size": str(order.size), "Idempotency-Key": f"form {order.number}"}
        return (await self.call("POST", path, form, said))[0]

    async def _post(
        self, path: str, body: dict[str, Any], said: Mapping[str, str] | None = None
    ) -> tuple[int, Any, Any]:
        headers = {"Content-Type": "application/json", **(said or {})}
        return await self.call("POST", path, json.dumps(body).encode(), headers)

    async def _direct(self, order: Order) -> tuple[int, str]:
        """Sent, and not completed: status and address."""
        status, offer, _ = await self._post(OPEN, _offered(order))
        if status != STORED:
            return status, ""
        return await self._send(offer, order.body(b"d")), f"{OPEN}/{offer['upload_id']}"

    async def _direct_parts(self, order: Order) -> tuple[int, str, list[tuple[int, str]]]:
        """As `_direct`, and the parts with their tags."""
        status, offer, _ = await self._post(OPEN, {**_offered(order), "multipart": True})
        if status != STORED:
            return status, "", []
        path = f"{OPEN}/{offer['upload_id']}"

        async def sign_part(number: int) -> tuple[int, str]:
            status, answer, _ = await self._post(f"{path}/parts", {"numbers": [number]})
            return status, answer["items"][0]["url"] if status == 200 else ""

        status, parts = await self._send_parts(sign_part, order.body(b"m"))
        return status, path, parts

    async def _uppy_parts(self, order: Order, said: Mapping[str, Any]) -> tuple[int, str]:
        """As `_direct`."""
        body = {"filename": order.name, "type": _BINARY, "metadata": {"category": "documents", **said}}
        status, made, _ = await self._post(f"{_UPPY}/multipart", body)
        if status != 200:
            return status, ""
        path = f"{_UPPY}/multipart/{made['uploadId']}"

        async def sign_part(number: int) -> tuple[int, str]:
            status, answer, _ = await self.call("GET", f"{path}/{number}")
            return status, answer["url"] if status == 200 else ""

        return (await self._send_parts(sign_part, order.body(b"y")))[0], path

    async def _uppy_complete(self, path: str) -> int:
        status, parts, _ = await self.call("GET", path)
        if status != 200:
            return status
        return (await self._post(f"{path}/complete", {"parts": parts}))[0]

    async def _send(self, offer: dict[str, Any], content: bytes) -> int:
        """By a form, or as the body."""
        if offer["method"] == "POST":
            kind, body = form_of(offer["fields"], content)
            return (await self.call("POST", offer["url"], body, {"Content-Type": kind}))[0]
        status = (await self.call("PUT", offer["url"], content, offer["headers"]))[0]
        return STORED if status == 204 else status

    async def _send_parts(
        self, sign_part: Callable[[int], Awaitable[tuple[int, str]]], content: bytes
    ) -> tuple[int, list[tuple[int, str]]]:
        """All at once, as small as a store takes them."""

        async def send(number: int, part: bytes) -> tuple[int, str]:
            status, url = await sign_part(number)
            if status != 200:
                return status, ""
            status, _, headers = await self.call("PUT", url, part)
            return status, headers.get("etag", "").strip('"')

        starts = range(0, max(len(content), 1), LEAST_PART)  # an empty file is one empty part
        sent = await asyncio.gather(*(send(n, content[at : at + LEAST_PART]) for n, at in enumerate(starts, 1)))
        wrong = [status for status, _ in sent if status != 200]
        return wrong[0] if wrong else STORED, [(number, tag) for number, (_, tag) in enumerate(sent, 1)]

    async def _complete(self, path: str, **said: Any) -> int:
        status = 202
        while status == 202:  # it is still being looked at
            status, _, _ = await self._post(f"{path}/complete", said)
        return status

    async def _knows(self, order: Order) -> bool:
        found = (await self.call("GET", f"/api/storage/files?name={quote(order.name)}"))[1]
        return bool(found["items"])

    async def _create(
        self, order: Order, size: int | None, data: bytes | None = None, concat: str | None = None
    ) -> tuple[int, str]:
        """Status and address. Whether a whole file came in before the answer broke off, the list says."""
        said = {"filename": order.name, "category": "documents"}
        meta = ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in said.items())
        headers = {**_TUS, "Upload-Metadata": meta}
        headers |= {} if data is None else _BYTES
        headers |= {} if size is None else {"Upload-Length": str(size)}
        headers |= {} if concat is None else {"Upload-Concat": concat}

        whole = concat is None and (data is not None or size == 0)
        status, _, answer = await self.call(
            "POST", "/api/storage/uploads", data, headers, known=partial(self._knows, order) if whole else None
        )
        return status, "/api/storage/uploads/" + answer.get("location", "").rsplit("/", 1)[-1]

    async def _append(self, path: str, content: bytes) -> int:
        offset = 0
        while offset < len(content):
            piece = content[offset : offset + PIECE]
            said = {**_TUS, **_BYTES, "Upload-Offset": str(offset)}
            status, _, answer = await self.call("PATCH", path, piece, said)
            if status == 409 and self.back:  # the first time it came through
                status, _, answer = await self.call("HEAD", path, headers=_TUS)
            if status not in {200, 204}:
                await self.call("DELETE", path, headers=_TUS)
                return status
            offset = int(answer["upload-offset"])
        return STORED


Way = Callable[[Client, Order], Awaitable[int]]
NEW: tuple[Way, ...] = (
    Client.form,
    Client.raw,
    Client.tus_at_once,
    Client.tus_in_pieces,
    Client.tus_joined,
    Client.image,
    Client.direct,
    Client.copy,
)
OVER: tuple[Way, ...] = (Client.put_over, Client.replace, Client.restore)  # of a file that is there
AWAY: tuple[Way, ...] = (Client.trash, Client.remove)  # the same, and it is gone
GIVEN_UP: tuple[Way, ...] = (Client.direct_aborted, Client.direct_left, Client.tus_left)
# Where the store is one that clients reach.
AT_STORE: tuple[Way, ...] = (Client.direct_in_parts, Client.uppy_form, Client.uppy_in_parts)
GIVEN_UP_AT_STORE: tuple[Way, ...] = (Client.parts_aborted, Client.parts_left)

_UPPY = "/api/storage/s3"
_BINARY = "application/octet-stream"

_TUS = {"Tus-Resumable": "1.0.0"}
_BYTES = {"Content-Type": "application/offset+octet-stream"}
_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d4944415478da63f8cfc0f01f0005000201"
    "5d2c7d550000000049454e44ae426082"
)


def _offered(order: Order) -> dict[str, Any]:
    said = {"file_name": order.name, "file_size": order.size, "content_type": _BINARY}
    return {**said, "category": "documents"}
