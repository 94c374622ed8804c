"""Counters folded again from the ledgers, beside the live ones, which go on: compared at the entry where each tenant
is counted up to, and put right by the difference in one transaction.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any
from uuid import UUID

from services.usage.counters.rules import Change
from services.usage.counters.service import CounterService
from services.usage.errors import RebuildRunning
from services.usage.rebuild import repository
from services.usage.rebuild.models import Rebuild
from services.usage.rebuild.provider import Folds
from services.usage.rebuild.rules import Difference, correct
from services.usage.rebuild.shadow import Apart, Shadow
from shared import outbox
from shared.clock import Clock
from shared.db import SNAPSHOT, Database, transaction_on
from shared.events import UsageRecalculated
from shared.ids import new_id

STRETCHES = 5_000  # asked for at once
PAGE = 500  # tenants put right by one statement
SHOWN = 100  # differences told of


@dataclass(frozen=True, slots=True)
class Outcome:
    """`differences` are the first of them, `more` how many there are besides. `ahead`: their ledger ends before their
    counters, which proves nothing and is not touched.
    """

    done: Rebuild
    differences: list[Difference]
    more: int
    ahead: list[Apart]


@dataclass(slots=True)
class _Work:
    """One rebuild under way. `tenant` None: all."""

    connection: Any
    shadow: Shadow
    tenant: UUID | None
    ahead: list[Apart] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    repaired: list[UUID] = field(default_factory=list)


class Rebuilder:
    def __init__(
        self,
        database: Database,
        folds: Folds,
        counters: CounterService,
        clock: Clock,
        *,
        changed: Callable[[UUID], object] = lambda _: None,
        announced: Callable[[], object] = lambda: None,
    ) -> None:
        self._database = database
        self._folds = folds
        self._counters = counters
        self._clock = clock
        self._changed = changed
        self._announced = announced

    async def run(
        self, tenant: UUID | None, reason: str, *, repair: bool, resume: bool = False, only_hidden: bool = False
    ) -> Outcome:
        """`resume`: goes on from where the last one ended, instead of from the first entry. `only_hidden`: looks at
        trash and versions of kinds, projects and people alone. Raises LedgerUnreachable with nothing changed,
        RebuildRunning.
        """
        started = self._clock.now()
        async with self._working(tenant, repair=repair) as work:
            if resume:
                await work.shadow.restore()
            elif tenant is None:
                await work.shadow.add(self._folds.all())
            async with transaction_on(work.connection, tenant, begin=SNAPSHOT):
                await work.shadow.note_letters()
                await self._catch_up(work)
                await work.shadow.compare()
                if only_hidden:
                    await work.shadow.keep_hidden()
                tenants, entries = await work.shadow.seen()
                differing, number = await work.shadow.count_differing()
                work.differences = (await work.shadow.page(UUID(int=0), SHOWN))[:SHOWN]
            done = Rebuild(
                id=new_id(),
                reason=reason,
                started_at=started,
                finished_at=started,
                tenants=tenants,
                entries=entries,
                differing=differing,
                ahead=len(work.ahead),
                repaired=0,
                whole=not resume,
            )
            async with transaction_on(work.connection, tenant):
                if repair and differing:
                    await self._swap(work, done)
                done.repaired, done.finished_at = len(work.repaired), self._clock.now()
                await repository.insert(work.connection, done)
                if tenant is None:
                    await work.shadow.keep(whole=not resume)
        for one in work.repaired:
            self._changed(one)
        if work.repaired:
            self._announced()
        return Outcome(done, work.differences, number - len(work.differences), work.ahead)

    @asynccontextmanager
    async def _working(self, tenant: UUID | None, *, repair: bool) -> AsyncIterator[_Work]:
        async with self._database.acquire() as connection:
            if repair and not await repository.lock(connection):
                raise RebuildRunning
            shadow = Shadow(connection, tenant)
            try:
                await shadow.create()
                yield _Work(connection, shadow, tenant)
            finally:
                # What a broken connection held is gone with it.
                if not connection.is_closed():
                    await shadow.drop()
                    if repair:
                        await repository.unlock(connection)

    async def _catch_up(self, work: _Work) -> None:
        """Brings each tenant's fold to the entry where it is counted up to, forward or back."""
        apart = await work.shadow.apart()
        for sign in (1, -1):
            side = [a for a in apart if (a.counted > a.folded) == (sign > 0)]
            for start in range(0, len(side), STRETCHES):
                await work.shadow.add(self._folds.between(side[start : start + STRETCHES]), sign)
        await work.shadow.stand([a for a in apart if a.counted < a.folded])
        work.ahead = await work.shadow.apart()

    async def _swap(self, work: _Work, done: Rebuild) -> None:
        await work.shadow.hold_letters()
        after = UUID(int=0)
        while differences := await work.shadow.page(after, PAGE):
            found = {one: list(mine) for one, mine in groupby(differences, lambda d: d.tenant_id)}
            corrections = {one: correct(mine) for one, mine in found.items()}
            changes = await self._counters.adjust(work.connection, corrections)
            now = self._clock.now()
            await repository.note_adjustments(work.connection, done.id, done.reason, now, list(found.values()))
            for change in changes:
                await outbox.append(work.connection, [_told(change, found, done.reason, now)], at=now)
            work.repaired += found
            after = differences[-1].tenant_id
        await work.shadow.settle_letters()


def _told(change: Change, found: dict[UUID, list[Difference]], reason: str, at: Any) -> UsageRecalculated:
    before, after = change.before, change.after
    return UsageRecalculated(
        tenant_id=after.tenant_id,
        position=found[after.tenant_id][0].position,
        bytes=after.bytes,
        files=after.files,
        delta_bytes=after.bytes - before.bytes,
        delta_files=after.files - before.files,
        reason=reason,
        at=at,
    )
