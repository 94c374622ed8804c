"""A tus client that says exactly what it is told to, so that every rule can be broken."""

from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.parts import require
from tests.fixtures.postgres import query
from tests.services.upload.conftest import Customer, Upload

PATH = "/api/storage/uploads"
VERSION = {"Tus-Resumable": "1.0.0"}
BYTES = {"Content-Type": "application/offset+octet-stream"}


def metadata(**said: str) -> str:
    pairs = {"filename": "note.txt", "filetype": "text/plain", "category": "documents", **said}
    return ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in pairs.items())


@dataclass
class Answer:
    status: int
    body: Any
    headers: dict[str, str]

    @property
    def code(self) -> str:
        return str(self.body["code"])

    @property
    def offset(self) -> int:
        return int(self.headers["upload-offset"])

    @property
    def id(self) -> str:
        return self.headers["location"].rsplit("/", 1)[1]


@dataclass
class Tus:
    who: Customer

    async def call(self, method: str, path: str, *, data: Any = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Answer(*await self.who.call(method, path, data=data, headers={**VERSION, **named}))

    async def create(self, length: int | None, data: Any = None, **headers: str) -> Answer:
        size = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
        kind = {} if data is None else BYTES
        return await self.call("POST", PATH, data=data, **{"Upload-Metadata": metadata(), **size, **kind, **headers})

    async def begun(self, length: int | None, **headers: str) -> str:
        answer = await self.create(length, **headers)
        assert answer.status == 201, answer
        return answer.id

    async def patch(self, upload: str, offset: int, data: Any, **headers: str) -> Answer:
        said = {"Upload-Offset": str(offset), **BYTES, **headers}
        return await self.call("PATCH", f"{PATH}/{upload}", data=data, **said)

    async def head(self, upload: str) -> Answer:
        return await self.call("HEAD", f"{PATH}/{upload}")

    async def delete(self, upload: str) -> Answer:
        return await self.call("DELETE", f"{PATH}/{upload}")

    async def content(self, file: str) -> bytes:
        status, body, _ = await self.who.call("GET", f"/api/storage/files/{file}/content")
        assert status == 200
        return bytes(body)

    async def held(self) -> int:
        return int((await self.who.service.account(self.who.tenant))["reserved"])

    async def rows(self) -> list[dict[str, Any]]:
        sql = "SELECT * FROM resumable_upload WHERE tenant_id = $1"
        return [dict(row) for row in await query(self.who.service.dsn.superuser, sql, self.who.tenant)]


@pytest.fixture
def tus(service: Upload) -> Tus:
    return Tus(service.customer())


@pytest.fixture(scope="session")
def tus_js() -> Path:
    return require("tus_js")


@pytest.fixture(scope="session")
def uppy(uppy_core: Path, tus_js: Path) -> Path:
    assert uppy_core.exists()
    assert tus_js.exists()
    return require("uppy")
