"""All ways in at once, one tenant, two processes: not a byte over, none refused in vain, and the sums agree after it.

`make test` stores about 10,000 files, `make faults` 100,000.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import pytest

from services.upload.settings import Settings
from tests.fixtures.postgres import PostgresServer, ServiceDatabase, query
from tests.services.upload.conftest import SECRET, Billing, settings_for
from tests.services.upload.process import Process, running
from tests.services.upload.ways import REFUSED, STORED, WAYS, Client, Way

UPLOADS = int(os.environ.get("UPLOADS", "10000"))
CLIENTS = 64
LIFETIME = 600  # seconds a reservation lives: longer than a slow machine takes
SIZES = (0, 1, 900, 5_000, 30_000, 90_000, 200_000)
_SUMS = """
    SELECT t.used, t.reserved, t.files, t.seq,
        (SELECT coalesce(sum(size), 0) FROM stored_file AS f WHERE f.tenant_id = t.tenant_id) AS stored,
        (SELECT coalesce(sum(delta), 0) FROM storage_transaction AS l WHERE l.tenant_id = t.tenant_id) AS ledger,
        (SELECT count(*) FROM storage_transaction AS l WHERE l.tenant_id = t.tenant_id) AS entries,
        (SELECT count(*) FROM reservation AS r WHERE r.tenant_id = t.tenant_id) AS held
    FROM tenant_storage AS t WHERE tenant_id = $1
"""


@dataclass
class Race:
    """The processes, and one tenant at a time."""

    dsn: ServiceDatabase
    settings: list[Settings]
    root: Path
    http: aiohttp.ClientSession
    billing: Billing
    processes: list[Process] = field(default_factory=list)
    highest: int = 0

    async def tenant(self, limit: int) -> UUID:
        tenant = uuid4()
        self.billing.limit = limit
        client = self.client(tenant, 0)
        assert (await client.call("GET", "/api/storage/quota"))[1]["limit"] == limit
        return tenant

    def client(self, tenant: UUID, seed: int) -> Client:
        urls = [settings.base_url for settings in self.settings]
        return Client(self.http, urls, tenant, SECRET, random.Random(seed))

    async def sums(self, tenant: UUID) -> dict[str, Any]:
        return dict((await query(self.dsn.superuser, _SUMS, tenant))[0])

    async def run(self, tenant: UUID, wanted: list[tuple[Way, int]]) -> list[tuple[Way, int, int]]:
        """Way, size and status of each, by 64 clients."""
        queue, done = iter(wanted), list[tuple[Way, int, int]]()

        async def work(client: Client) -> None:
            for way, size in queue:
                status = await way(client, size)
                done.append((way, size, STORED if status in {200, 201} else status))

        watching = asyncio.create_task(self._watch(tenant))
        await asyncio.gather(*(work(self.client(tenant, number)) for number in range(CLIENTS)))
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        return done

    async def _watch(self, tenant: UUID) -> None:
        """The account, all the time, from outside."""
        connection: Any = await asyncpg.connect(self.dsn.superuser)
        try:
            while True:
                sql = "SELECT used + reserved FROM tenant_storage WHERE tenant_id = $1"
                self.highest = max(self.highest, await connection.fetchval(sql, tenant) or 0)
                await asyncio.sleep(0.002)
        finally:
            await connection.close()

    async def agree(self, tenant: UUID) -> dict[str, Any]:
        """Account, files, ledger and the disk say the same, and nothing is held."""
        sums = await self.sums(tenant)
        folder = self.root / "blobs" / "customers" / str(tenant)
        blobs = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        assert sums["used"] == sums["stored"] == sums["ledger"] == sum(blobs)
        assert sums["files"] == len(blobs)
        assert sums["seq"] == sums["entries"]
        assert (sums["reserved"], sums["held"]) == (0, 0)
        assert [path for path in (self.root / "staging").iterdir() if path.is_file()] == []
        return sums


@pytest.fixture
async def race(pg: PostgresServer, billing: Billing, tmp_path: Path) -> AsyncIterator[Race]:
    dsn = pg.create("upload")
    told = {"reservation_seconds": LIFETIME, "idle_seconds": 30.0, "database_pool": 8}
    settings = [settings_for(dsn.app, tmp_path / "store", billing.url, **told) for _ in range(2)]
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        found = Race(dsn, settings, tmp_path / "store", http, billing)
        found.processes = [await stack.enter_async_context(running(each, http)) for each in settings]
        yield found


def orders(number: int, seed: int) -> list[tuple[Way, int]]:
    chance = random.Random(seed)
    return [(chance.choice(WAYS), chance.choice(SIZES)) for _ in range(number)]


@pytest.mark.alone
@pytest.mark.faults
@pytest.mark.timeout(120 + UPLOADS // 40)
async def test_what_fits_to_the_byte_passes_and_nothing_more(race: Race) -> None:
    """First exactly as much as the plan holds: none may be refused. Then far too much: not a byte may come in over."""
    wanted, begun = orders(UPLOADS // 2, 1), time.monotonic()
    limit = sum(size for _, size in wanted)
    tenant = await race.tenant(limit)
    done = await race.run(tenant, wanted)
    assert Counter(status for _, _, status in done) == {STORED: len(wanted)}
    assert (await race.agree(tenant))["used"] == limit == race.highest

    wanted = orders(UPLOADS, 2)
    limit = sum(size for _, size in wanted) // 2
    tenant, race.highest = await race.tenant(limit), 0
    done = await race.run(tenant, wanted)
    assert {status for _, _, status in done} == {STORED, REFUSED}
    assert race.highest <= limit
    used = (await race.agree(tenant))["used"]
    assert used == sum(size for _, size, status in done if status == STORED)
    # Whoever was refused while others were under way is refused now too, if it was right to refuse them.
    left = limit - used
    assert min(size for _, size, status in done if status == REFUSED) > left
    assert await race.client(tenant, 0).raw(left) == STORED
    assert await race.client(tenant, 0).form(1) == REFUSED
    print(f"\n{UPLOADS * 1.5:.0f} uploads, {time.monotonic() - begun:.0f} s")  # noqa: T201 - what was measured
