"""Many large uploads at once, by each way in: the process neither grows with them nor stalls.

`make test` sends files of 5 MiB, `make faults` of 50.
"""

import asyncio
import os
from base64 import b64encode
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import aiohttp
import pytest

from shared.security import Principal, sign
from tests.fixtures.postgres import PostgresServer, query
from tests.services.upload.conftest import SECRET, Billing, settings_for
from tests.services.upload.process import running

UPLOADS = 200
SIZE = int(os.environ.get("UPLOAD_MIB", "5")) * 1024**2  # bytes each; the memory does not depend on it
PIECE = os.urandom(64 * 1024)
_NAMED = {"filename": b"x.bin", "category": b"documents"}
GROWTH = 200 * 1024**2  # bytes of resident memory above the idle process


@pytest.mark.alone
@pytest.mark.faults
@pytest.mark.timeout(120 + 200 * SIZE // 2**20 // 10)
@pytest.mark.parametrize("way", ["form", "raw", "tus"])
async def test_two_hundred_uploads_at_once(pg: PostgresServer, billing: Billing, tmp_path: Path, way: str) -> None:
    dsn, billing.limit = pg.create("upload"), None
    settings = settings_for(dsn.app, tmp_path / "store", billing.url, idle_seconds=60.0)
    tenant, together = uuid4(), asyncio.Barrier(UPLOADS)
    async with aiohttp.ClientSession() as http, running(settings, http) as process:
        await _upload(process.url, tenant, way, asyncio.Barrier(1))  # what is made once is made
        idle, before = process.resident, await process.stalls(http, 0.1)
        sampled: list[int] = []
        watching = asyncio.create_task(_watch(process.pid, sampled))
        try:
            statuses = await asyncio.gather(*(_upload(process.url, tenant, way, together) for _ in range(UPLOADS)))
        finally:
            watching.cancel()
        stalls = await process.stalls(http, 0.1) - before
    assert statuses == [204 if way == "tus" else 201] * UPLOADS
    rows = await query(dsn.superuser, "SELECT used, reserved, files FROM tenant_storage WHERE tenant_id = $1", tenant)
    assert tuple(rows[0]) == ((UPLOADS + 1) * SIZE, 0, UPLOADS + 1)
    assert max(sampled) - idle <= GROWTH, f"{(max(sampled) - idle) / 2**20:.0f} MiB"
    assert stalls == 0


async def _upload(url: str, tenant: UUID, way: str, together: asyncio.Barrier) -> int:
    """All begin, then all send, then all end: none is over before the last has begun."""
    where = urlsplit(url)
    who = Principal(kind="user", user_id=uuid4(), tenant_id=tenant, tenant_slug="t", role="owner")
    token = sign(who, secret=SECRET, audience="upload", issuer="gateway", lifetime=600)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)

    def begin(line: str, length: int, **headers: str) -> None:
        said = {"Host": where.netloc, "stowage-internal": token, "Content-Length": str(length), **headers}
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in said.items())
        writer.write(f"{line} HTTP/1.1\r\n{lines}\r\n".encode())

    front = back = b""
    if way == "form":
        front = b'--b\r\nContent-Disposition: form-data; name="category"\r\n\r\ndocuments\r\n'
        front += b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.bin"\r\n\r\n'
        back = b"\r\n--b--\r\n"
        length = len(front) + SIZE + len(back)
        begin("POST /api/storage/upload", length, Content_Type="multipart/form-data; boundary=b")
    elif way == "raw":
        begin(f"PUT /api/storage/content/documents/{uuid4()}.bin", SIZE)
    else:
        said = ",".join(f"{k} {b64encode(v).decode()}" for k, v in _NAMED.items())
        begin("POST /api/storage/uploads", 0, Tus_Resumable="1.0.0", Upload_Length=str(SIZE), Upload_Metadata=said)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        path = urlsplit(answer.partition("\r\nlocation: ")[2].splitlines()[0]).path
        more = {"Tus_Resumable": "1.0.0", "Upload_Offset": "0", "Content_Type": "application/offset+octet-stream"}
        begin(f"PATCH {path}", SIZE, **more)
    writer.write(front)
    for sent in range(0, SIZE, len(PIECE)):
        writer.write(PIECE)
        await writer.drain()
        if sent == SIZE // 2 // len(PIECE) * len(PIECE):
            await together.wait()
    writer.write(back)
    answer = (await reader.readuntil(b"\r\n\r\n")).decode()
    writer.close()
    return int(answer.split()[1])


async def _watch(pid: int, sampled: list[int]) -> None:
    import psutil

    process = psutil.Process(pid)
    while True:
        sampled.append(int(process.memory_info().rss))
        await asyncio.sleep(0.05)
