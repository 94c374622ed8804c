"""All changes of one tenant, coalesced: one transaction under way, the next takes everything that waits.

A hot tenant is one row. Taking its lock once per change gives as many changes a second as the disk gives commits;
taking it once for all that wait gives as many as Python can carry. Across processes the row lock keeps it exact.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

import asyncpg

from shared.db.database import Database

log = logging.getLogger(__name__)

C = TypeVar("C")
R = TypeVar("R")

BATCH = 256
ATTEMPTS = 5

# A connection that broke leaves the commit in doubt: the batch is tried again, so every change must be idempotent.
IN_DOUBT = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
)


@dataclass(slots=True)
class _Waiting(Generic[C, R]):
    change: C
    done: asyncio.Future[R]


class GroupCommit(Generic[C, R]):
    """`submit` returns what became of one change once it is committed.

    `commit` does a batch of one tenant inside the transaction it is given, under a lock of its own, and returns a
    result for each change in their order.
    """

    def __init__(
        self,
        database: Database,
        commit: Callable[[Any, UUID, list[C]], Awaitable[list[R]]],
        *,
        on_commit: Callable[[], object],
    ) -> None:
        self._database = database
        self._commit_batch = commit
        self._on_commit = on_commit
        self._queues: dict[UUID, deque[_Waiting[C, R]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, tenant: UUID, change: C) -> R:
        """Raises what `commit` or the database raised."""
        waiting: _Waiting[C, R] = _Waiting(change, asyncio.get_running_loop().create_future())
        queue = self._queues.get(tenant)
        if queue is None:
            queue = self._queues[tenant] = deque([waiting])
            task = asyncio.create_task(self._drain(tenant, queue))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            queue.append(waiting)
        # A caller that is cancelled must not cancel its neighbours' batch.
        return await asyncio.shield(waiting.done)

    async def _drain(self, tenant: UUID, queue: deque[_Waiting[C, R]]) -> None:
        while queue:
            batch = [queue.popleft() for _ in range(min(len(queue), BATCH))]
            await self._commit(tenant, batch)
        del self._queues[tenant]

    async def _commit(self, tenant: UUID, batch: list[_Waiting[C, R]]) -> None:
        try:
            results = await self._attempt(tenant, [waiting.change for waiting in batch])
        except Exception as error:  # noqa: BLE001 - it goes to whoever waits for it
            if len(batch) > 1 and isinstance(error, asyncpg.DataError | asyncpg.IntegrityConstraintViolationError):
                # One of them cannot be written: its neighbours must not pay for it.
                log.warning("a batch of %d changes is tried one by one: %s", len(batch), error)
                for waiting in batch:
                    await self._commit(tenant, [waiting])
                return
            for waiting in batch:
                _fail(waiting.done, error)
            return
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.done.done():
                waiting.done.set_result(result)
        self._on_commit()

    async def _attempt(self, tenant: UUID, changes: list[C]) -> list[R]:
        delay = 0.05
        for attempt in range(ATTEMPTS):
            try:
                async with self._database.transaction(tenant) as connection:
                    return await self._commit_batch(connection, tenant, changes)
            except IN_DOUBT as error:
                if attempt == ATTEMPTS - 1:
                    raise
                log.warning("changes of an account wait %.2f s: %s", delay, error)
                await asyncio.sleep(delay)
                delay *= 3
        raise AssertionError("unreachable")


def _fail(future: asyncio.Future[R], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # a caller that went away must not leave a warning
