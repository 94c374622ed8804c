"""Every way a file can come in, as a client takes it: each says 201 or 200 stored, 413 refused, or breaks off."""

import random
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import aiohttp

from shared.security import Principal, sign

REFUSED, STORED, BROKEN = 413, 201, 0
PIECE = 40_000  # bytes of a PATCH


@dataclass
class Client:
    """One of many of the same tenant. `urls`: the processes there are, which take turns."""

    http: aiohttp.ClientSession
    urls: list[str]
    tenant: UUID
    secret: str
    chance: random.Random
    files: list[str] = field(default_factory=list)  # stored by form, to be copied and replaced

    async def call(self, method: str, path: str, data: Any = None, **headers: str) -> tuple[int, Any, Any]:
        who = Principal(kind="user", user_id=self.tenant, tenant_id=self.tenant, tenant_slug="t", role="owner")
        token = sign(who, secret=self.secret, audience="upload", issuer="gateway", lifetime=600)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = path if path.startswith("http") else self.chance.choice(self.urls) + path
        try:
            async with self.http.request(
                method, url, data=data, headers={"stowage-internal": token, **named}
            ) as answer:
                body = await answer.json() if "json" in answer.headers.get("content-type", "") else await answer.read()
                return answer.status, body, answer.headers
        except (aiohttp.ClientError, OSError):
            return BROKEN, None, {}

    async def form(self, size: int) -> int:
        form = aiohttp.FormData()
        form.add_field("category", "documents")
        form.add_field("file", b"f" * size, filename="race.bin")
        said = {"x_file_size": str(size)}
        return (await self.call("POST", "/api/storage/upload", form, **said))[0]

    async def raw(self, size: int) -> int:
        name = quote(f"{uuid4()} Straße.bin")
        return (await self.call("PUT", f"/api/storage/content/documents/a/{name}", b"r" * size))[0]

    async def tus_at_once(self, size: int) -> int:
        return (await self._create(size, b"t" * size))[0]

    async def tus_in_pieces(self, size: int) -> int:
        status, _, headers = await self._create(size)
        if status != STORED:
            return status
        path, offset = headers["location"], 0
        path = "/api/storage/uploads/" + path.rsplit("/", 1)[1]
        while offset < size:
            piece = b"p" * min(PIECE, size - offset)
            status, _, answer = await self.call("PATCH", path, piece, **_TUS, **_BYTES, upload_offset=str(offset))
            if status != 204:
                return await self._give_up(path, status)
            offset = int(answer["upload-offset"])
        return STORED

    async def image(self, size: int) -> int:
        form = aiohttp.FormData()
        form.add_field("file", (_PNG + bytes(size))[:size], filename="race.png")
        return (await self.call("POST", "/api/images/upload", form, x_file_size=str(size)))[0]

    async def direct(self, size: int) -> int:
        wanted = {"file_name": "race.bin", "file_size": size, "content_type": "application/octet-stream"}
        status, offer, _ = await self._json("/api/storage/direct-uploads", {**wanted, "category": "documents"})
        if status != STORED:
            return status
        status, _, _ = await self.call(offer["method"], offer["url"], b"d" * size, **offer.get("headers", {}))
        if status in {200, 201, 204}:
            status, _, _ = await self._json(f"/api/storage/direct-uploads/{offer['upload_id']}/complete", {})
        return STORED if status in {200, 201} else status

    async def copy(self, size: int) -> int:
        """Of a file of just that size, which is stored first by the book-keeper of the test."""
        file_id = self.chance.choice([file for file in self.files if file.endswith(f":{size}")]).split(":")[0]
        return (await self._json(f"/api/storage/files/{file_id}/copy", {"name": f"{uuid4()}.bin"}))[0]

    async def _json(self, path: str, body: dict[str, Any]) -> tuple[int, Any, Any]:
        import json

        return await self.call("POST", path, json.dumps(body), content_type="application/json")

    async def _create(self, size: int, data: bytes | None = None) -> tuple[int, Any, Any]:
        said = {"filename": "race.bin", "category": "documents"}
        meta = ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in said.items())
        kind = {} if data is None else _BYTES
        headers = {**_TUS, **kind, "upload_length": str(size), "upload_metadata": meta}
        return await self.call("POST", "/api/storage/uploads", data, **headers)

    async def _give_up(self, path: str, status: int) -> int:
        await self.call("DELETE", path, **_TUS)
        return status


Way = Callable[[Client, int], Awaitable[int]]
WAYS: tuple[Way, ...] = (Client.form, Client.raw, Client.tus_at_once, Client.tus_in_pieces)

_TUS = {"tus_resumable": "1.0.0"}
_BYTES = {"content_type": "application/offset+octet-stream"}
_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d4944415478da63f8cfc0f01f0005000201"
    "5d2c7d550000000049454e44ae426082"
)
