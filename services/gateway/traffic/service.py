"""What goes in and out, summed in memory and written every few seconds."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime

import asyncpg
from prometheus_client import Counter
from starlette.types import Receive, Scope, Send

from services.gateway.traffic.meter import Meter
from services.gateway.traffic.repository import TrafficRepository
from services.gateway.traffic.rules import Key, Sum, events_of
from shared.clock import Clock
from shared.db import Database
from shared.events import TrafficRecorded

log = logging.getLogger(__name__)

BYTES = Counter("stowage_gateway_traffic_bytes_total", "Body bytes counted for tenants", ["direction"])
FAILURES = Counter("stowage_gateway_traffic_failures_total", "Times traffic could not be written and was kept")

# Sums kept apart. A tenant may name any project it likes: beyond so many they count as of none.
MOST = 50_000


@dataclass(slots=True)
class Batch:
    """`tried`: it may be written although nobody said so."""

    events: list[TrafficRecorded]
    at: datetime
    tried: bool = False


class Traffic:
    """A request is counted at its end, and while its answer goes out. `every`: seconds between two writings."""

    def __init__(self, database: Database, clock: Clock, every: float) -> None:
        self._database = database
        self._clock = clock
        self._every = every
        self._open: set[Meter] = set()
        self._sums: dict[Key, Sum] = {}
        self._since = clock.now()
        self._batch: Batch | None = None  # what is to be written first

    def begin(self, scope: Scope, receive: Receive, send: Send) -> Meter:
        meter = Meter(scope, receive, send)
        self._open.add(meter)
        return meter

    def end(self, meter: Meter) -> None:
        self._open.discard(meter)
        self._count(meter, ended=True)

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            await asyncio.sleep(self._every)
            await self._try()

    async def close(self) -> None:
        """The last writing."""
        await self._try()

    async def flush(self) -> None:
        """Raises what the database raises; then everything is kept for the next time."""
        if self._batch is not None:
            await self._write(self._batch)
        self._batch = self._collect()
        await self._write(self._batch)

    async def _try(self) -> None:
        try:
            await self.flush()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            FAILURES.inc()
            log.warning("traffic is kept until the database takes it: %s: %s", type(error).__name__, error)

    def _collect(self) -> Batch:
        for meter in self._open:
            # Before the answer nobody knows whose project it is.
            if meter.answered:
                self._count(meter, ended=False)
        sums, self._sums = self._sums, {}
        since, self._since = self._since, self._clock.now()
        for held in sums.values():
            BYTES.labels("in").inc(held.bytes_in)
            BYTES.labels("out").inc(held.bytes_out)
        return Batch(events_of(sums, since, self._since), self._since)

    async def _write(self, batch: Batch) -> None:
        if batch.events:
            await self._commit(batch)
        self._batch = None

    async def _commit(self, batch: Batch) -> None:
        async with self._database.transaction() as connection:
            outbox = TrafficRepository(connection)
            if batch.tried and await outbox.has(batch.events[0]):
                return  # the answer to the commit was lost, not the commit
            batch.tried = True
            await outbox.append(batch.events, batch.at)

    def _count(self, meter: Meter, *, ended: bool) -> None:
        if meter.tenant is None:
            return
        bytes_in, bytes_out = meter.take(ended=ended)
        if not (bytes_in or bytes_out or ended):
            return
        held = self._sums.get((meter.tenant, meter.project))
        if held is None:
            project = meter.project if len(self._sums) < MOST else None
            held = self._sums.setdefault((meter.tenant, project), Sum())
        held.add(bytes_in, bytes_out, 1 if ended else 0)
