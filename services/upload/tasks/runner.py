"""Works off what is to be done with files after they are stored: each task at least once, until it succeeds."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from uuid import UUID

import asyncpg
from prometheus_client import Counter, Gauge

from services.upload.tasks import repository
from services.upload.tasks.repository import Claim
from services.upload.tasks.rules import pause
from shared.db import Database
from shared.errors import DomainError, UpstreamError
from shared.outbox.wake import Listener

log = logging.getLogger(__name__)

WORKED = Counter("stowage_upload_tasks_total", "Tasks of files worked on, by outcome", ["kind", "outcome"])
WAITING = Gauge("stowage_upload_tasks_waiting", "Tasks of files not done yet", ["kind"])

LEASE = timedelta(seconds=30)  # a dead worker's tasks wait so long for another one
POLL = 1.0  # seconds between two looks when no notice comes
BREATH = 0.05  # seconds between two looks when notices come all the time

Handler = Callable[[UUID, UUID], Awaitable[None]]  # tenant, file; may run twice, so it must not mind

_TROUBLE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
# Foreseen, and told in one line.
_FORESEEN = (*_TROUBLE, DomainError, UpstreamError, TimeoutError)


class TaskRunner:
    """`handlers` by kind: others wait for a worker that knows them. Several workers may run at once."""

    def __init__(
        self, database: Database, handlers: Mapping[str, Handler], *, concurrency: int = 4, lease: timedelta = LEASE
    ) -> None:
        self._database = database
        self._handlers = handlers
        self._concurrency = concurrency
        self._lease = lease
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """For ever; what is under way when it is cancelled is given back."""
        try:
            async with Listener(self._database.dsn) as listener:
                while True:
                    if not await self._start_due():
                        await listener.wait(POLL)
                        await asyncio.sleep(BREATH)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def measure(self) -> None:
        """How many tasks wait, for whoever watches."""
        async with self._database.acquire() as connection:
            waiting = await repository.count(connection)
        for kind in {*self._handlers, *waiting}:
            WAITING.labels(kind).set(waiting.get(kind, 0))

    async def _start_due(self) -> bool:
        """Begins as many tasks as there are hands for; False when nothing was due."""
        if len(self._running) >= self._concurrency:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        try:
            async with self._database.acquire() as connection:
                free = self._concurrency - len(self._running)
                claims = await repository.claim(connection, list(self._handlers), self._lease, free)
        except _TROUBLE as error:
            log.warning("tasks wait: %s", error)
            return False
        for claim in claims:
            task = asyncio.create_task(self._work(claim))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return bool(claims)

    async def _work(self, claim: Claim) -> None:
        try:
            async with self._kept(claim):
                error = await self._attempt(claim)
        except asyncio.CancelledError:
            with contextlib.suppress(*_TROUBLE):
                await self._end(claim, None, unfinished=True)
            raise
        WORKED.labels(claim.kind, "done" if error is None else "failed").inc()
        with contextlib.suppress(*_TROUBLE):  # then its lease runs out, and it is done once more
            await self._end(claim, error)

    async def _attempt(self, claim: Claim) -> str | None:
        """The error's text, or nothing."""
        try:
            await self._handlers[claim.kind](claim.tenant, claim.file)
        except _FORESEEN as error:
            log.warning("task %s of file %s, attempt %d: %r", claim.kind, claim.file, claim.attempts, error)
            return repr(error)
        except Exception as error:
            log.exception("task %s of file %s, attempt %d", claim.kind, claim.file, claim.attempts)
            return repr(error)
        return None

    async def _end(self, claim: Claim, error: str | None, *, unfinished: bool = False) -> None:
        async with self._database.acquire() as connection:
            if unfinished:
                await repository.give_back(connection, claim)
            elif error is None:
                await repository.remove(connection, claim)
            else:
                await repository.put_off(connection, claim, pause(claim.attempts), error)

    @contextlib.asynccontextmanager
    async def _kept(self, claim: Claim) -> AsyncIterator[None]:
        """A task may take longer than its lease: it stays ours as long as we live."""
        keeping = asyncio.create_task(self._keep(claim))
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def _keep(self, claim: Claim) -> None:
        while True:
            await asyncio.sleep(self._lease.total_seconds() / 3)
            with contextlib.suppress(*_TROUBLE):
                async with self._database.acquire() as connection:
                    if not await repository.prolong(connection, claim, self._lease):
                        return
