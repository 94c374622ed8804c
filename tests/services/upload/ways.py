"""Every way a file can come in, as a client takes it: each says 2xx stored, 413 refused, or breaks off."""

import json
import random
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any
from urllib.parse import quote
from uuid import UUID

import aiohttp

from shared.security import Principal, sign

REFUSED, NO_IMAGE_LEFT, STORED, BROKEN = 413, 403, 201, 0
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
    the way takes one. `ids` of the files that are copied and replaced, by name, are known to all. `refusals` are the
    problems it was told.
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
        wanted = {"file_name": order.name, "file_size": order.size, "content_type": "application/octet-stream"}
        status, offer, _ = await self._post("/api/storage/direct-uploads", {**wanted, "category": "documents"})
        if status != STORED:
            return status
        status, _, _ = await self.call(offer["method"], offer["url"], order.body(b"d"), offer["headers"])
        while status in {202, 204}:  # it has arrived; or it is still being looked at
            status, _, _ = await self._post(f"/api/storage/direct-uploads/{offer['upload_id']}/complete", {})
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
        """Into the trash and back."""
        path = f"/api/storage/files/{self.ids[order.name]}"
        for method, address in (("DELETE", path), ("POST", f"{path}/restore")):
            status, _, _ = await self.call(method, address)
            if status not in ({200, 204, 404} if self.back else {200, 204}):  # 404: done the first time
                return status
        return (await self.call("GET", path))[0]

    async def _try(self, method: str, path: str, data: Any, said: Mapping[str, str]) -> tuple[int, Any, Any]:
        headers = {"stowage-internal": self._token, **said}
        url = path if path.startswith("http") else self.chance.choice(self.urls) + path
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

        async def known() -> bool:
            found = (await self.call("GET", f"/api/storage/files?name={quote(order.name)}"))[1]
            return bool(found["items"])

        whole = concat is None and (data is not None or size == 0)
        status, _, answer = await self.call(
            "POST", "/api/storage/uploads", data, headers, known=known if whole else None
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

_TUS = {"Tus-Resumable": "1.0.0"}
_BYTES = {"Content-Type": "application/offset+octet-stream"}
_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d4944415478da63f8cfc0f01f0005000201"
    "5d2c7d550000000049454e44ae426082"
)
