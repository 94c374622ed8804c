"""Many large uploads at once: the process neither grows with them nor stalls."""

import asyncio
import os
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
GROWTH = 200 * 1024**2  # bytes of resident memory above the idle process


@pytest.mark.alone
async def test_two_hundred_uploads_at_once(pg: PostgresServer, billing: Billing, tmp_path: Path) -> None:
    dsn, billing.limit = pg.create("upload"), None
    settings = settings_for(dsn.app, tmp_path / "store", billing.url, idle_seconds=60.0)
    tenant, together = uuid4(), asyncio.Barrier(UPLOADS)
    async with aiohttp.ClientSession() as http, running(settings, http) as process:
        await _upload(process.url, tenant, asyncio.Barrier(1))  # what is made once is made
        idle, before = process.resident, await process.stalls(http, 0.1)
        sampled: list[int] = []
        watching = asyncio.create_task(_watch(process.pid, sampled))
        try:
            statuses = await asyncio.gather(*(_upload(process.url, tenant, together) for _ in range(UPLOADS)))
        finally:
            watching.cancel()
        stalls = await process.stalls(http, 0.1) - before
    assert statuses == [201] * UPLOADS
    rows = await query(dsn.superuser, "SELECT used, reserved, files FROM tenant_storage WHERE tenant_id = $1", tenant)
    assert tuple(rows[0]) == ((UPLOADS + 1) * SIZE, 0, UPLOADS + 1)
    assert max(sampled) - idle <= GROWTH, f"{(max(sampled) - idle) / 2**20:.0f} MiB"
    assert stalls == 0


async def _upload(url: str, tenant: UUID, together: asyncio.Barrier) -> int:
    """All begin, then all send, then all end: none is over before the last has begun."""
    where = urlsplit(url)
    who = Principal(kind="user", user_id=uuid4(), tenant_id=tenant, tenant_slug="t", role="owner")
    token = sign(who, secret=SECRET, audience="upload", issuer="gateway", lifetime=600)
    front = b'--b\r\nContent-Disposition: form-data; name="category"\r\n\r\ndocuments\r\n'
    front += b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.bin"\r\n\r\n'
    back = b"\r\n--b--\r\n"
    head = f"POST /api/storage/upload HTTP/1.1\r\nHost: {where.netloc}\r\nstowage-internal: {token}\r\n"
    head += f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(front) + SIZE + len(back)}\r\n\r\n"
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(head.encode() + front)
    for sent in range(0, SIZE, len(PIECE)):
        writer.write(PIECE)
        await writer.drain()
        if sent == SIZE // 2 // len(PIECE) * len(PIECE):
            await together.wait()
    writer.write(back)
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return int(answer.split()[1])


async def _watch(pid: int, sampled: list[int]) -> None:
    import psutil

    process = psutil.Process(pid)
    while True:
        sampled.append(int(process.memory_info().rss))
        await asyncio.sleep(0.05)
