"""64 clients of one tenant at two processes, which may be killed, and a worker; and what has to agree when they are
done.
"""

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg

from services.upload.direct.rules import LEAST_PART
from services.upload.settings import Settings
from services.upload.upkeep import open_upkeep
from shared.worker import Job
from tests.fixtures.postgres import ServiceDatabase, query
from tests.fixtures.stores import ObjectServer, told
from tests.services.upload.conftest import SECRET, Billing, settings_for
from tests.services.upload.inside import Bucket, Disk, Inside
from tests.services.upload.process import Process, running
from tests.services.upload.ways import (
    AT_STORE,
    AWAY,
    FREED,
    GIVEN_UP,
    GIVEN_UP_AT_STORE,
    NEW,
    OVER,
    PICTURE,
    REFUSED,
    STORED,
    Client,
    Order,
    Way,
)

CLIENTS = 64
LIFETIME = 600  # seconds a reservation lives: longer than a slow machine takes
SIZES = (0, 1, 900, 5_000, 30_000, 90_000, 200_000)
TWO_PARTS = LEAST_PART + 70_001
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
PLACES_AT_STORE = ("direct.assembled:2", "upload.placed:5", "direct.copied:2", "upload.settled:10", "direct.settled:2")
JOBS = (
    "trash",
    "reservations",
    "uploads",
    "direct-collect",
    "direct-expired",
    "direct-orphans",
    "orphans",
    "garbage",
)
SWEEPS = {"direct-orphans", "orphans"}  # find what nobody else has cleared away
IN_PARTS = {Client.direct_in_parts, Client.uppy_in_parts, Client.uppy_without_size, *GIVEN_UP_AT_STORE}
OFTEN = 1.0  # seconds from one run of a job to the next, at most

_SUMS = """
    SELECT t.used, t.reserved, t.files, t.seq,
        (SELECT coalesce(sum(size), 0) FROM stored_file AS f WHERE f.tenant_id = t.tenant_id) AS stored,
        (SELECT count(*) FROM stored_file AS f WHERE f.tenant_id = t.tenant_id) AS rows,
        (SELECT coalesce(sum(delta), 0) FROM storage_transaction AS l WHERE l.tenant_id = t.tenant_id) AS ledger,
        (SELECT count(*) FROM storage_transaction AS l WHERE l.tenant_id = t.tenant_id) AS entries,
        (SELECT max(seq) FROM storage_transaction AS l WHERE l.tenant_id = t.tenant_id) AS last,
        (SELECT coalesce(sum(size), 0) FROM reservation AS r WHERE r.tenant_id = t.tenant_id) AS held,
        (SELECT count(*) FROM reservation AS r WHERE r.tenant_id = t.tenant_id) AS holders,
        (SELECT coalesce(sum(used), 0) FROM image_month AS i WHERE i.tenant_id = t.tenant_id) AS images
    FROM tenant_storage AS t WHERE tenant_id = $1
"""
_FILES = """
    SELECT name, size FROM stored_file
    WHERE tenant_id = $1 AND version_of IS NULL AND trashed_at IS NULL AND name NOT LIKE '-%'
"""
_OBJECTS = "SELECT path, size FROM stored_file WHERE tenant_id = $1"
# A completion that died is taken over after a minute. Here after five seconds.
_HURRY = "UPDATE direct_upload SET lease = now() WHERE lease BETWEEN now() AND now() + interval '55 seconds'"
_AGE = """
    UPDATE reservation SET expires_at = now() - interval '1 day';
    UPDATE resumable_upload SET expires_at = now() - interval '1 day', beat = beat - interval '1 day';
    UPDATE direct_upload SET expires_at = now() - interval '1 day', lease = lease - interval '1 day';
    UPDATE stored_file SET purge_at = now() - interval '1 day' WHERE trashed_at IS NOT NULL;
"""
# While others are at it: one row at a time, and nobody is waited for.
_LAPSE = (
    "UPDATE reservation SET expires_at = now() - interval '1 day' WHERE id = $1",
    "UPDATE resumable_upload SET expires_at = now() - interval '1 day', beat = beat - interval '1 day' WHERE id = $1",
    "UPDATE direct_upload SET expires_at = now() - interval '1 day' WHERE id = $1",
)
_DUE = """
    UPDATE stored_file SET purge_at = now() WHERE id IN (
        SELECT id FROM stored_file WHERE trashed_at IS NOT NULL AND random() < 0.3 LIMIT 10 FOR UPDATE SKIP LOCKED
    )
"""


@dataclass
class Race:
    """The processes, and one tenant at a time. `deaths` by where they came, each at one of `places` in turn;
    `worker`: the settings of the one that runs beside, `jobs` what it does; `looks` at the account from outside.
    """

    dsn: ServiceDatabase
    inside: Inside
    http: aiohttp.ClientSession
    billing: Billing
    processes: Sequence[Process]
    worker: Settings
    jobs: Sequence[str] = JOBS
    places: Sequence[str] = PLACES
    between: int = 800  # orders from one kill to the next
    highest: int = 0
    looks: int = 0
    repeats: int = 0
    refusals: list[dict[str, Any]] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)  # of all refusals
    ids: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    deaths: Counter[str] = field(default_factory=Counter)

    async def tenant(self, limit: int, images: int | None = None) -> UUID:
        tenant = uuid4()
        self.billing.limit, self.billing.images, self.billing.trash_days = limit, images, 7
        client = self.client(tenant, 0)
        assert (await client.call("GET", "/api/storage/quota"))[1]["limit"] == limit
        return tenant

    def client(self, tenant: UUID, seed: int, *, tireless: bool = False) -> Client:
        urls = [process.url for process in self.processes]
        back = self._back if tireless else None
        return Client(self.http, urls, tenant, SECRET, random.Random(seed), self.ids, back, left=self.left)

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

        beside = [self._watch(tenant), self._age(), self._work()]
        async with _beside(*beside, *([self._kill(done, len(orders)), self._hurry()] if kills else [])):
            await asyncio.gather(*(work(client) for client in clients))
        self.repeats += sum(client.repeats for client in clients)
        heard = [said for client in clients for said in client.refusals]
        self.codes.update(str(said["code"]) for said in heard)
        self.refusals += [said for said in heard if said["code"] == "quota_exceeded"]
        return done

    async def _watch(self, tenant: UUID) -> None:
        """The account, all the time, from outside; and now and then what it is the sum of."""
        connection: Any = await asyncpg.connect(self.dsn.superuser)
        try:
            while True:
                sql = "SELECT used + reserved FROM tenant_storage WHERE tenant_id = $1"
                self.highest = max(self.highest, await connection.fetchval(sql, tenant) or 0)
                self.looks += 1
                if self.looks % 100 == 0:
                    _check(dict((await connection.fetch(_SUMS, tenant))[0]))
                await asyncio.sleep(0.005)
        finally:
            await connection.close()

    async def _work(self) -> None:
        """The worker's jobs, side by side, as often as it runs them or oftener; nothing is spared for being young."""
        async with open_upkeep(self.worker) as upkeep:
            await asyncio.gather(*(_repeat(job) for job in upkeep.jobs.periodic() if job.name in self.jobs))

    async def _age(self) -> None:
        """What was left behind is a day old at once, and some of the trash has been there for its time."""
        while True:
            while self.left:
                upload = UUID(self.left.pop())
                for statement in _LAPSE:
                    await query(self.dsn.superuser, statement, upload)
            await query(self.dsn.superuser, _DUE)
            await asyncio.sleep(0.5)

    async def _hurry(self) -> None:
        while True:
            await query(self.dsn.superuser, _HURRY)
            await asyncio.sleep(0.5)

    async def _kill(self, done: dict[Order, int], number: int) -> None:
        """One process or the other, at times both."""
        times = max(1, number // self.between)
        for turn, place in zip(range(times), itertools.cycle(self.places), strict=False):
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
        await self.clean()
        sums = await self.sums(tenant)
        assert (sums["reserved"], sums["holders"]) == (0, 0), sums
        left = (
            await query(self.dsn.superuser, "TABLE direct_upload"),
            await query(self.dsn.superuser, "TABLE blob_garbage"),
        )
        assert left == ([], [])

    async def clean(self) -> None:
        """What the worker does by itself, until nothing is left to do. To it everything is old enough."""
        settings = self.worker.model_copy(update={"reservation_seconds": -60, "orphan_seconds": -60})
        async with open_upkeep(settings) as upkeep:
            for job in self.jobs:
                while await upkeep.jobs.run(job):
                    pass

    async def again(self, tenant: UUID, refused: Iterable[Order]) -> dict[Order, int]:
        """Those that were refused while others were under way, the smallest first, until one is refused now too."""
        client, done = self.client(tenant, 0), dict[Order, int]()
        async with _beside(self._work()):
            for order in sorted(refused, key=lambda order: order.need):
                status = await _take(client, order)
                if status == REFUSED:
                    break
                done[order] = status
        return done

    async def agree(self, tenant: UUID, done: dict[Order, int]) -> int:
        """Account, files, ledger and the store's own listing say the same, and it is what the clients were told;
        nothing is held and nothing left over. Returns the bytes used.
        """
        await self.clean()
        sums = await self.sums(tenant)
        _check(sums)
        assert sums["files"] == sums["rows"], sums
        assert (sums["reserved"], sums["holders"]) == (0, 0), sums
        objects = {row["path"]: row["size"] for row in await query(self.dsn.superuser, _OBJECTS, tenant)}
        held = await self.inside.held()
        assert held == objects, (held.items() - objects.items(), objects.items() - held.items())
        assert all(path.startswith(f"customers/{tenant}/") for path in held)
        told = {order.name: order.size for order, status in done.items() if status == STORED}
        gone = {order.name for order, status in done.items() if status == FREED}
        kept = {order.name: order.before for order in done if order.before is not None} | told
        listed = Counter((row["name"], row["size"]) for row in await query(self.dsn.superuser, _FILES, tenant))
        expected = Counter((name, size) for name, size in kept.items() if name not in gone)
        assert listed == expected, (listed - expected, expected - listed)
        assert sums["images"] == sum(name.endswith(".png") for name in told), sums
        return int(sums["used"])


@asynccontextmanager
async def racing(dsn: ServiceDatabase, root: Path, billing: Billing, s3: ObjectServer | None) -> AsyncIterator[Race]:
    """On the local disk, or in a bucket of its own."""
    bucket = f"race-{uuid4().hex[:12]}"
    where = {} if s3 is None else {**told("s3", s3, bucket), "spool_path": root}
    common = {"idle_seconds": 30.0, "database_pool": 8, **where}
    settings = [settings_for(dsn.app, root, billing.url, reservation_seconds=LIFETIME, **common) for _ in range(2)]
    # What is put together and not settled yet looks like an orphan: the grace time is for it, a day otherwise.
    worker = settings_for(dsn.worker, root, billing.url, reservation_seconds=5, orphan_seconds=30, **common)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        processes = [await stack.enter_async_context(running(each, http)) for each in settings]
        if s3 is None:
            yield Race(dsn, Disk(root), http, billing, processes, worker)
        else:
            inside = Bucket(s3, bucket, root)
            yield Race(dsn, inside, http, billing, processes, worker, places=PLACES_AT_STORE, between=160)


def orders(number: int, seed: int, *, at_store: bool, grow: bool) -> list[Order]:
    """All ways mixed. `grow`: nothing takes the place of a larger file. `at_store`: also those that go straight to
    a store; what comes in parts is at times more than one.
    """
    chance, made = random.Random(seed), list[Order]()
    taking = (*NEW, *OVER, *(AT_STORE if at_store else ()))
    if at_store and not grow:
        taking = (*taking, Client.uppy_without_size)  # which holds more than it needs as long as it lasts
    freeing = (*AWAY, Client.empty, *GIVEN_UP, *(GIVEN_UP_AT_STORE if at_store else ()))
    for each in range(number):
        way = chance.choice(taking * 2 + freeing)
        made.append(_order(each, way, chance, grow=grow))
    return made


def fits(order_list: Iterable[Order]) -> int:
    """Bytes that all of them need, with what is stored for them beforehand."""
    return sum(SIZES) + sum(order.size for order in order_list)


def _order(number: int, way: Way, chance: random.Random, *, grow: bool) -> Order:
    size = chance.choice((*SIZES, TWO_PARTS) if way in IN_PARTS else SIZES)
    before = chance.choice(SIZES) if way in {*OVER, *AWAY} else None
    if before is not None and grow:
        size, before = max(size, before), min(size, before)
    if way in {Client.restore, *AWAY}:
        size = before or 0
    if way is Client.empty:
        size = 0
    if way is Client.image:
        size = max(size, PICTURE)
    if way in {*GIVEN_UP, Client.uppy_without_size}:
        size = max(size, 2)  # there is a first piece, and not even a byte of it fits where nothing does
    return Order(number, way, size, before)


def _check(sums: dict[str, Any]) -> None:
    """True at every moment."""
    assert sums["used"] == sums["stored"] == sums["ledger"], sums
    assert sums["reserved"] == sums["held"], sums
    assert sums["seq"] == sums["entries"] == (sums["last"] or 0), sums


async def _take(client: Client, order: Order) -> int:
    status = await order.way(client, order)
    return STORED if status in {200, 201, 204} else status


@asynccontextmanager
async def _beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """None of which may fail."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in work]
        yield
        for task in tasks:
            task.cancel()


async def _repeat(job: Job) -> None:
    while True:
        await job.run()
        await asyncio.sleep(min(job.every, OFTEN))


async def _until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.02)
