"""Waiting for a tenant's usage to change, without asking the database again and again."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

from services.usage.counters.reader import CounterReader
from services.usage.counters.snapshot import Snapshot
from shared.outbox import Listener

CHANNEL = "usage"
RECHECK = 1.0  # seconds; what bounds the wait when a notice was lost


class Changes:
    """Notices of the worker's commits, handed to whoever waits for that tenant."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._watching: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    async def run(self) -> None:
        """Listens until cancelled."""
        async with Listener(self._dsn, CHANNEL) as listener:
            while True:
                heard = await listener.wait(RECHECK)
                # Nothing heard is the regular look, an empty notice was too long to name tenants: everyone looks.
                everyone = not heard or "" in heard
                for tenant in list(self._watching) if everyone else heard:
                    for event in self._watching.get(tenant, ()):
                        event.set()

    @contextmanager
    def watch(self, tenant: UUID) -> Iterator[asyncio.Event]:
        """Set at every change. Begin to watch before the first look: a change between the two is then not missed."""
        event = asyncio.Event()
        self._watching[str(tenant)].add(event)
        try:
            yield event
        finally:
            self._watching[str(tenant)].discard(event)
            if not self._watching[str(tenant)]:
                del self._watching[str(tenant)]


class LiveUsage:
    def __init__(self, reader: CounterReader, changes: Changes) -> None:
        self._reader = reader
        self._changes = changes

    async def wait(self, tenant: UUID, after: int, version: int | None, seconds: float) -> Snapshot:
        """Usage once its position is past `after` or its terms are not of `version`; as it stands when time is up."""
        with self._changes.watch(tenant) as changed:
            usage = await self._reader.read(tenant)
            known = usage.version if version is None else version
            deadline = asyncio.get_running_loop().time() + seconds
            with suppress(TimeoutError):
                while usage.position <= after and usage.version == known:
                    async with asyncio.timeout_at(deadline):
                        await changed.wait()
                    changed.clear()  # before the look: a change during it is looked at again
                    usage = await self._reader.read(tenant)
            return usage
