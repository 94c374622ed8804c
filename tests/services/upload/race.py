"""64 clients of one tenant at two processes, which may be killed; and what has to agree when they are done."""

import asyncio
import contextlib
import itertools
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg

from services.upload.upkeep import open_upkeep
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.upload.conftest import SECRET, Billing, settings_for
from tests.services.upload.process import Process, running
from tests.services.upload.ways import NEW, OVER, PICTURE, REFUSED, STORED, Client, Order

CLIENTS = 64
LIFETIME = 600  # seconds a reservation lives: longer than a slow machine takes
SIZES = (0, 1, 900, 5_000, 30_000, 90_000, 200_000)
BETWEEN = 800  # orders from one kill to the next
# Where a process dies that has just come back.
PLACES = (
    "upload.settled:20",
    "upload.joined:3",
    "direct.settled:3",
    "upload.placed:20",
    "upload.checkpointed:10",
    "upload.reserved:20",
    "direct.copied:3",
    "upload.streaming:20",
)
JOBS = ("reservations", "uploads", "direct-expired", "direct-orphans", "orphans", "garbage")

_SUMS = """
    SELECT t.used, t.reserved, t.files, t.seq,
        (SELECT coalesce(sum(size), 0) FROM stored_file AS f WHERE f.tenant_id = t.tenant_id) AS stored,
        (SELECT coalesce(sum(delta), 0) FROM storage_transaction AS l WHERE l.tenant_id = t.tenant_id) AS ledger,
        (SELECT count(*) FROM storage_transaction AS l WHERE l.tenant_id = t.tenant_id) AS entries,
        (SELECT max(seq) FROM storage_transaction AS l WHERE l.tenant_id = t.tenant_id) AS last,
        (SELECT count(*) FROM reservation AS r WHERE r.tenant_id = t.tenant_id) AS held,
        (SELECT coalesce(sum(used), 0) FROM image_month AS i WHERE i.tenant_id = t.tenant_id) AS images
    FROM tenant_storage AS t WHERE tenant_id = $1
"""
_FILES = """
    SELECT name, size FROM stored_file
    WHERE tenant_id = $1 AND version_of IS NULL AND trashed_at IS NULL AND name NOT LIKE '-%'
"""
# A completion that died is taken over after a minute. Here after five seconds.
_HURRY = "UPDATE direct_upload SET lease = now() WHERE lease BETWEEN now() AND now() + interval '55 seconds'"
_AGE = """
    UPDATE reservation SET expires_at = now() - interval '1 day';
    UPDATE resumable_upload SET expires_at = now() - interval '1 day', beat = beat - interval '1 day';
    UPDATE direct_upload SET expires_at = now() - interval '1 day', lease = lease - interval '1 day';
"""


@dataclass
class Race:
    """The processes, and one tenant at a time. `deaths` by where they came."""

    dsn: ServiceDatabase
    root: Path
    http: aiohttp.ClientSession
    billing: Billing
    processes: Sequence[Process]
    highest: int = 0
    repeats: int = 0
    ids: dict[str, str] = field(default_factory=dict)
    deaths: Counter[str] = field(default_factory=Counter)

    async def tenant(self, limit: int, images: int | None = None) -> UUID:
        tenant = uuid4()
        self.billing.limit, self.billing.images, self.billing.trash_days = limit, images, 7
        client = self.client(tenant, 0)
        assert (await client.call("GET", "/api/storage/quota"))[1]["limit"] == limit
        return tenant

    def client(self, tenant: UUID, seed: int, *, tireless: bool = False) -> Client:
        urls = [process.url for process in self.processes]
        return Client(self.http, urls, tenant, SECRET, random.Random(seed), self.ids, self._back if tireless else None)

    async def _back(self) -> None:
        await _until(lambda: all(process.up for process in self.processes))

    async def sums(self, tenant: UUID) -> dict[str, Any]:
        return dict((await query(self.dsn.superuser, _SUMS, tenant))[0])

    async def prepare(self, tenant: UUID, orders: Iterable[Order]) -> None:
        """Files to be replaced, and one of each size to be copied."""
        olds = [Order(order.number, Client.raw, order.before) for order in orders if order.before is not None]
        sources = [Order(-number, Client.raw, size) for number, size in enumerate(SIZES, 1)]
        done = await self.run(tenant, [*sources, *olds])
        assert Counter(done.values()) == {STORED: len(done)}, Counter(done.values())
        self.ids.update({str(order.size): self.ids[order.name] for order in sources})

    async def run(self, tenant: UUID, orders: Sequence[Order], *, kills: bool = False) -> dict[Order, int]:
        """The status of each, by 64 clients."""
        queue, done = iter(orders), dict[Order, int]()
        clients = [self.client(tenant, number, tireless=kills) for number in range(CLIENTS)]

        async def work(client: Client) -> None:
            for order in queue:
                done[order] = await _take(client, order)

        beside = [self._watch(tenant), *([self._kill(done, len(orders)), self._hurry()] if kills else [])]
        tasks = [asyncio.create_task(each) for each in beside]
        try:
            await asyncio.gather(*(work(client) for client in clients))
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended if end is not None), ended
        self.repeats += sum(client.repeats for client in clients)
        return done

    async def _watch(self, tenant: UUID) -> None:
        """The account, all the time, from outside."""
        connection: Any = await asyncpg.connect(self.dsn.superuser)
        try:
            while True:
                sql = "SELECT used + reserved FROM tenant_storage WHERE tenant_id = $1"
                self.highest = max(self.highest, await connection.fetchval(sql, tenant) or 0)
                await asyncio.sleep(0.005)
        finally:
            await connection.close()

    async def _hurry(self) -> None:
        while True:
            await query(self.dsn.superuser, _HURRY)
            await asyncio.sleep(0.5)

    async def _kill(self, done: dict[Order, int], number: int) -> None:
        """One process or the other, at times both."""
        times = max(1, number // BETWEEN)
        for turn, place in zip(range(times), itertools.cycle(PLACES), strict=False):
            await _until(lambda least=(turn + 0.5) * number / times: len(done) >= least)  # type: ignore[misc]
            dying = self.processes if turn % 3 == 2 else [self.processes[turn % 3]]
            await asyncio.gather(*(self._die(process, place) for process in dying))

    async def _die(self, process: Process, place: str) -> None:
        """Wherever it is, and once more at a named place when it is back."""
        process.kill()
        self.deaths["anywhere"] += 1
        process.start(FAULT=place)
        with contextlib.suppress(RuntimeError):  # it may be there before it is seen
            await process.ready(self.http)
        await _until(lambda: not process.alive)
        self.deaths[place.split(":", maxsplit=1)[0]] += 1
        process.start()
        await process.ready(self.http)

    async def bury(self, tenant: UUID) -> None:
        """Everybody is back; and it is a day later, for all that the dead have left."""
        for process in self.processes:
            if process.told or not process.alive:
                process.kill()
                process.start()
        await asyncio.gather(*(process.ready(self.http) for process in self.processes))
        connection: Any = await asyncpg.connect(self.dsn.superuser)
        await connection.execute(_AGE)
        await connection.close()
        for path in self.root.rglob("*"):
            if path.is_file():
                os.utime(path, (time.time() - 86_400,) * 2)
        await self.clean()
        sums = await self.sums(tenant)
        assert (sums["reserved"], sums["held"]) == (0, 0), sums

    async def clean(self) -> None:
        """What the worker does by itself, until nothing is left to do."""
        settings = settings_for(self.dsn.worker, self.root, self.billing.url, reservation_seconds=5, orphan_seconds=0)
        async with open_upkeep(settings) as upkeep:
            for job in JOBS:
                while await upkeep.jobs.run(job):
                    pass

    async def again(self, tenant: UUID, refused: Iterable[Order]) -> dict[Order, int]:
        """Those that were refused while others were under way, the smallest first, until one is refused now too."""
        client, done = self.client(tenant, 0), dict[Order, int]()
        for order in sorted(refused, key=lambda order: order.need):
            status = await _take(client, order)
            if status == REFUSED:
                break
            done[order] = status
        return done

    async def agree(self, tenant: UUID, done: dict[Order, int]) -> int:
        """Account, files, ledger and the disk say the same, and it is what the clients were told; nothing is held and
        nothing left over. Returns the bytes used.
        """
        await self.clean()
        sums = await self.sums(tenant)
        folder = self.root / "blobs" / "customers" / str(tenant)
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        assert sums["used"] == sums["stored"] == sums["ledger"] == sum(sizes), (sums, sum(sizes))
        assert sums["files"] == len(sizes), (sums, len(sizes))
        assert sums["seq"] == sums["entries"] == sums["last"], sums
        assert (sums["reserved"], sums["held"]) == (0, 0), sums
        told = {order.name: order.size for order, status in done.items() if status == STORED}
        kept = {order.name: order.before for order in done if order.before is not None and order.name not in told}
        listed = Counter((row["name"], row["size"]) for row in await query(self.dsn.superuser, _FILES, tenant))
        expected = Counter({**told, **kept}.items())
        assert listed == expected, (listed - expected, expected - listed)
        assert sums["images"] == sum(name.endswith(".png") for name in told), sums
        files = [str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()]
        left = [path for path in files if not path.startswith("blobs/customers/")]
        assert left == [], left
        return int(sums["used"])


@asynccontextmanager
async def racing(dsn: ServiceDatabase, root: Path, billing: Billing) -> AsyncIterator[Race]:
    told = {"reservation_seconds": LIFETIME, "idle_seconds": 30.0, "database_pool": 8}
    settings = [settings_for(dsn.app, root, billing.url, **told) for _ in range(2)]
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        processes = [await stack.enter_async_context(running(each, http)) for each in settings]
        yield Race(dsn, root, http, billing, processes)


def orders(number: int, seed: int, *, grow: bool) -> list[Order]:
    """All ways mixed. `grow`: nothing takes the place of a larger file."""
    chance, made = random.Random(seed), list[Order]()
    for each in range(number):
        way, size = chance.choice((*NEW, *OVER)), chance.choice(SIZES)
        before = chance.choice(SIZES) if way in OVER else None
        if before is not None and grow:
            size, before = max(size, before), min(size, before)
        if way is Client.restore:
            size = before or 0
        if way is Client.image:
            size = max(size, PICTURE)
        made.append(Order(each, way, size, before))
    return made


def fits(order_list: Iterable[Order]) -> int:
    """Bytes that all of them need, with what is stored for them beforehand."""
    return sum(SIZES) + sum(order.size for order in order_list)


async def _take(client: Client, order: Order) -> int:
    status = await order.way(client, order)
    return STORED if status in {200, 201, 204} else status


async def _until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.02)
