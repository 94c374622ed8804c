"""Sixty-four clients, one tenant, two processes, three times what fits: not a byte over, none refused in vain."""

import asyncio
import io
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import pytest

from deploy.local.ports import free_port
from shared.security import Principal, sign
from tests.fixtures.stack import ROOT, Stack

LIMIT = 104_857_600  # the Free plan, bytes
CLIENTS = 64


@pytest.fixture
async def second_api(stack: Stack) -> AsyncIterator[str]:
    """Another HTTP process of `upload` beside the stack's own."""
    secrets, port = stack.secrets(), free_port()
    environment = {
        **os.environ,
        "MODE": "local",
        "PORT": str(port),
        "DATABASE_URL": stack.dsn("upload", "app"),
        "KAFKA_BOOTSTRAP": stack.status["kafka"],
        "INTERNAL_SECRET": secrets["internal"],
        "SIGNING_SECRET": secrets["signing"],
        "BASE_URL": stack.url,
        "BILLING_URL": f"http://127.0.0.1:{stack.service('billing')['port']}",
        "LOCAL_STORAGE_PATH": str(stack.home / "storage"),
    }
    process = subprocess.Popen(  # noqa: ASYNC220 - starting it is quick
        [sys.executable, "-m", "services.upload.main"], cwd=ROOT, env=environment
    )
    url = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession() as session, asyncio.timeout(30):
        while True:
            try:
                async with session.get(f"{url}/readyz") as answer:
                    if answer.status == 200:
                        break
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
    yield url
    process.terminate()
    process.wait(10)


class Watcher:
    """Looks at the account all the time, from outside."""

    def __init__(self, dsn: str, tenant: UUID) -> None:
        self._dsn = dsn
        self._tenant = tenant
        self.looks = 0
        self.highest = 0

    async def run(self) -> None:
        connection: Any = await asyncpg.connect(self._dsn)
        try:
            while True:
                total = await connection.fetchval(
                    "SELECT used + reserved FROM tenant_storage WHERE tenant_id = $1", self._tenant
                )
                self.looks += 1
                self.highest = max(self.highest, total or 0)
                await asyncio.sleep(0.002)
        finally:
            await connection.close()


@pytest.mark.alone
async def test_the_quota_is_exact_whatever_the_interleaving(stack: Stack, second_api: str) -> None:
    tenant, chance = uuid4(), random.Random(7)
    urls = [f"http://127.0.0.1:{stack.service('upload')['port']}", second_api]
    who = Principal(kind="user", user_id=uuid4(), tenant_id=tenant, tenant_slug="race", role="owner")
    token = sign(who, secret=stack.secrets()["internal"], audience="upload", issuer="gateway", lifetime=600)
    sizes: list[int] = []
    while sum(sizes) < 3 * LIMIT:
        sizes.append(chance.choice([1_000, 64_000, 500_000, 2_000_000, 5_000_000]))
    watcher = Watcher(stack.dsn("upload"), tenant)
    watching = asyncio.create_task(watcher.run())
    outcomes: list[tuple[int, int]] = []

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CLIENTS)) as session:

        async def upload(size: int, url: str, say: bool) -> tuple[int, int]:
            form = aiohttp.FormData()
            form.add_field("category", "documents")
            form.add_field("file", io.BytesIO(b"x" * size), filename="race.bin")
            headers = {"stowage-internal": token, **({"X-File-Size": str(size)} if say else {})}
            try:
                async with session.post(f"{url}/api/storage/upload", data=form, headers=headers) as answer:
                    return size, answer.status
            except aiohttp.ClientError:
                return size, 413  # refused and closed while this client was still sending

        async def run(wanted: list[int], said: float) -> list[int]:
            """What was refused, of these sizes, when that share of the clients says them in advance."""
            queue, refused = iter(wanted), []

            async def client(number: int) -> None:
                for size in queue:
                    outcomes.append(await upload(size, urls[number % 2], chance.random() < said))
                    if outcomes[-1][1] == 413:
                        refused.append(size)

            await asyncio.gather(*(client(number) for number in range(CLIENTS)))
            return refused

        first = await run(sizes, 0.7)
        # An upload that did not say its size may be refused half-way, and what it held is free again: once more, all
        # at once, and now nobody is refused for something that is given back.
        refused = await run(first, 1.0)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        stored = sum(size for size, status in outcomes if status == 201)
        rows = await stack.query(
            "upload", "SELECT used, reserved, files FROM tenant_storage WHERE tenant_id = $1", tenant
        )
        assert {status for _, status in outcomes} == {201, 413}
        assert watcher.looks > 100
        assert watcher.highest <= LIMIT
        assert dict(rows[0]) == {"used": stored, "reserved": 0, "files": sum(s == 201 for _, s in outcomes)}
        # Nothing that was refused would fit now, and everything that fits is taken.
        left = LIMIT - stored
        assert all(size > left for size in refused)
        assert (await upload(left + 1, urls[0], say=True))[1] == 413
        assert (await upload(left, urls[1], say=True))[1] == 201
    await agree(stack, tenant, files=sum(status == 201 for _, status in outcomes) + 1)


async def agree(stack: Stack, tenant: UUID, files: int) -> None:
    """Account, ledger and store say the same; and so does `usage`, which has heard of it by events only."""
    whole = {"used": LIMIT, "files": files}
    rows = await stack.query("upload", "SELECT used, files, seq FROM tenant_storage WHERE tenant_id = $1", tenant)
    account = dict(rows[0])
    seq = account.pop("seq")
    ledger = await stack.query(
        "upload",
        "SELECT sum(delta)::bigint AS used, count(*) AS files FROM storage_transaction WHERE tenant_id = $1",
        tenant,
    )
    folder = stack.home / "storage" / "blobs" / "customers" / str(tenant)
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    assert account == dict(ledger[0]) == {"used": sum(sizes), "files": len(sizes)} == whole
    counted: dict[str, int] = {}
    async with asyncio.timeout(30):
        while counted.get("position") != seq:
            rows = await stack.query(
                "usage", "SELECT bytes AS used, files, position FROM tenant_usage WHERE tenant_id = $1", tenant
            )
            counted = dict(rows[0]) if rows else {}
            await asyncio.sleep(0.1)
    assert counted == {**whole, "position": seq}
    kinds = await stack.query(
        "usage",
        "SELECT sum(total_size)::bigint AS used, sum(file_count)::bigint AS files FROM usage_breakdown "
        "WHERE tenant_id = $1",
        tenant,
    )
    assert dict(kinds[0]) == whole
