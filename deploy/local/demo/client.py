"""A client as a customer would write one: HTTP through the gateway, nothing else."""

import asyncio
import io
import json
import mimetypes
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp


class DemoFailed(AssertionError):
    """Something did not come out as promised."""


def check(holds: bool, promise: str) -> None:
    if not holds:
        raise DemoFailed(promise)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any

    def expect(self, status: int, what: str) -> Any:
        check(self.status == status, f"{what}: expected {status}, got {self.status}: {json.dumps(self.body)[:400]}")
        return self.body


class Person:
    """One account and its session with the gateway at `url`."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session
        self.token = ""
        self.tenant: dict[str, Any] = {}
        self.email = self._password = ""

    async def sign_up(self, name: str) -> Self:
        self.email = f"{name.split(maxsplit=1)[0].lower()}-{secrets.token_hex(4)}@example.com"
        self._password = secrets.token_urlsafe(16)
        body = {"email": self.email, "password": self._password, "name": name}
        made = (await self.call("POST", "/api/auth/signup", body)).expect(201, "sign-up")
        self.token, self.tenant = made["access_token"], made["tenant"]
        return self

    async def sign_in(self) -> None:
        """Again: an access token lasts a quarter of an hour."""
        body = {"email": self.email, "password": self._password}
        self.token = (await self.call("POST", "/api/auth/login", body)).expect(200, "sign-in")["access_token"]

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        address = path if path.startswith("http") else self.url + path
        async with self._session.request(method, address, json=body, headers={**self._auth(), **headers}) as response:
            return await read(response)

    async def get(self, path: str) -> Any:
        return (await self.call("GET", path)).expect(200, f"GET {path}")

    async def upload(self, name: str, content: bytes | Path, category: str, *, trace: str | None = None) -> Answer:
        """One file as multipart form, its size said in advance so that a refusal comes before the body."""
        form = aiohttp.FormData()
        form.add_field("category", category)
        payload = content.open("rb") if isinstance(content, Path) else io.BytesIO(content)
        size = payload.seek(0, os.SEEK_END)
        payload.seek(0)
        media = mimetypes.guess_type(name)[0] or "application/octet-stream"
        form.add_field("file", payload, filename=name, content_type=media)
        headers = {**self._auth(), "X-File-Size": str(size)}
        if trace is not None:
            headers["traceparent"] = f"00-{trace}-{secrets.token_hex(8)}-01"
        async with self._session.post(f"{self.url}/api/storage/upload", data=form, headers=headers) as response:
            return await read(response)

    async def refused_upload(self, size: int) -> tuple[Answer, int]:
        """Asks with `Expect: 100-continue`; returns the answer and how many bytes of the body had to travel."""
        where = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        lines = [
            "POST /api/storage/upload HTTP/1.1",
            f"Host: {where.netloc}",
            f"Authorization: Bearer {self.token}",
            "Content-Type: multipart/form-data; boundary=stowage",
            f"Content-Length: {size + 200}",
            f"X-File-Size: {size}",
            "Expect: 100-continue",
        ]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        async with asyncio.timeout(20):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            status = int(head.split()[1])
            travelled = size if status == 100 else 0
            fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            body = await reader.readexactly(int(fields.get("content-length", "0")))
        writer.close()
        return Answer(status, json.loads(body) if body else None), travelled

    def _auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


async def read(response: aiohttp.ClientResponse) -> Answer:
    text = await response.text(errors="replace")
    try:
        return Answer(response.status, json.loads(text) if text else None)
    except json.JSONDecodeError:
        return Answer(response.status, text)
