"""One tenant's ledger, account, files and objects, compared; and put right when it is asked for."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

import asyncpg
from prometheus_client import Counter

from services.upload.ledger.chain import ChainBroken, verify
from services.upload.ledger.fold import fold
from services.upload.quota import adjusting
from services.upload.reconciliation import looks, repository, rules
from services.upload.reconciliation.looks import START, Checkpoint, Seen
from services.upload.reconciliation.models import Reconciliation
from services.upload.reconciliation.objects import StoreWalk
from services.upload.reconciliation.report import Report
from services.upload.reconciliation.rules import Amount, Difference, Kind
from services.upload.reconciliation.schemas import ReconciliationOut
from shared import faults
from shared.clock import Clock
from shared.db import Database, turn
from shared.errors import DomainError
from shared.ids import new_id

log = logging.getLogger(__name__)

RECONCILIATIONS = Counter("stowage_upload_reconciliations_total", "Tenants looked at, by what came of it", ["outcome"])
APART = 1.0  # seconds between the two looks that must see the same before anything is repaired
PATIENCE = "20s"  # uploads wait for a look under the account's lock no longer


class ReconciliationRunning(DomainError):
    def __init__(self) -> None:
        super().__init__("reconciliation_running", 409, "That tenant is being reconciled just now; try again.")


class Reconciler:
    """`on_commit` tells the relay that there is something to publish."""

    def __init__(self, database: Database, store: StoreWalk, clock: Clock, *, on_commit: Callable[[], object]) -> None:
        self._database = database
        self._store = store
        self._clock = clock
        self._on_commit = on_commit

    async def reconcile(self, tenant: UUID, *, repair: bool) -> ReconciliationOut:
        """Everything from the first entry on, with what lies in the store. Raises DomainError 404 `account_not_found`,
        ReconciliationRunning.
        """
        async with turn(self._database, f"reconciliation {tenant}") as mine:
            if mine is None:
                raise ReconciliationRunning
            report = await self._look_whole(tenant)
            await self._end(report, repair=repair)
        return ReconciliationOut.of(report)

    async def glance(self, tenant: UUID, *, whole: bool) -> Report | None:
        """By what the tables tell, from the last checkpoint on. None when somebody is at it, or there is no account."""
        async with turn(self._database, f"reconciliation {tenant}") as mine:
            if mine is None:
                return None
            async with self._database.snapshot(tenant) as connection:
                seen, differences = await self._look(connection, tenant, whole=whole)
            if seen is None:
                return None
            differences += rules.compare(seen.look, seen.noted)
            report = Report(new_id(), tenant, self._clock.now(), seen.look, seen.hidden, differences)
            await self._save(report, whole=whole)
            await self._end(report, repair=False)
        return report

    async def get_newest(self, tenant: UUID) -> ReconciliationOut:
        """As it was kept. Raises DomainError 404 `reconciliation_not_found`."""
        async with self._database.transaction(tenant) as connection:
            found = await repository.find_newest(connection, tenant)
        if found is None:
            raise DomainError("reconciliation_not_found", 404, "That tenant was never reconciled.")
        return ReconciliationOut.model_validate(found)

    async def _look_whole(self, tenant: UUID) -> Report:
        listing = await self._store.walk(tenant)
        async with self._database.snapshot(tenant) as connection:
            seen, differences = await self._look(connection, tenant, whole=True)
            if seen is None:
                raise DomainError("account_not_found", 404, "That tenant has no account here.")
            differences += await _audit(connection, tenant, seen.look.position)
            rows = await looks.list_rows(connection, tenant)
        objects = None if listing is None else await self._store.match(tenant, listing, rows)
        differences += rules.compare(seen.look, objects)
        hidden = dict(seen.hidden)
        if objects is not None and listing is not None:
            hidden |= {"orphans": objects.orphans, "staged": listing.staged, "abandoned": listing.abandoned}
        report = Report(new_id(), tenant, self._clock.now(), seen.look, hidden, differences, objects)
        await self._save(report, whole=True)
        return report

    async def _look(self, connection: Any, tenant: UUID, *, whole: bool) -> tuple[Seen | None, list[Difference]]:
        """And where the whole ledger was added up, whether the checkpoint had said the same."""
        known = await repository.find_checkpoint(connection, tenant)
        seen = await looks.look(connection, tenant, START if whole or known is None else known)
        if seen is None or not whole or known is None:
            return seen, []
        since = await fold(connection, tenant, seen.look.position, after=known.position)
        told = rules.plus(known.kinds, {(k.file_type, k.category): Amount(k.bytes, k.files) for k in since})
        apart = rules.minus(told, seen.look.ledger)
        return seen, [Difference("checkpoint", "checkpoint", amount, kind) for kind, amount in apart.items()]

    async def _save(self, report: Report, *, whole: bool) -> None:
        tenant, look = report.tenant, report.look
        async with self._database.transaction(tenant) as connection:
            await repository.save_checkpoint(connection, tenant, look, report.differences, whole=whole)
            if not rules.gap_of(look):
                await repository.note_gap(connection, tenant, None, APART)

    async def _end(self, report: Report, *, repair: bool) -> None:
        """Looks again where something differs, puts it right or notes it, and keeps what came of it."""
        if rules.gap_of(report.look):
            await self._settle(report, repair=repair)
            if repair and not report.ripe:
                await asyncio.sleep(APART)
                await self._settle(report, repair=True)
        if not report.is_repaired:
            async with self._database.transaction(report.tenant) as connection:
                await _keep(connection, report)
        RECONCILIATIONS.labels(report.outcome).inc()
        for found in report.differences:
            log.warning("tenant %s does not agree with itself: %s", report.tenant, found)
        if report.recounted:
            log.warning("tenant %s has its images counted again, of %s", report.tenant, report.recounted)
        for entry in report.repaired:
            log.warning("tenant %s was adjusted by entry %d: %s", report.tenant, entry.seq, entry.body)

    async def _settle(self, report: Report, *, repair: bool) -> None:
        """Under the account's lock nothing moves. What is apart now must have been so, exactly, some time ago."""
        tenant = report.tenant
        try:
            async with self._database.transaction(tenant) as connection:
                await connection.execute(f"SET LOCAL statement_timeout = '{PATIENCE}'")
                await adjusting.lock(connection, tenant)
                known = await repository.find_checkpoint(connection, tenant) or Checkpoint()
                seen = await looks.look(connection, tenant, known)
                if seen is None:
                    return
                gap = rules.gap_of(seen.look)
                report.ripe = await repository.note_gap(connection, tenant, gap.told() if gap else None, APART)
                if repair and report.ripe and not seen.erased:
                    await self._adjust(connection, report, seen)
        except asyncpg.QueryCanceledError:
            log.warning("tenant %s is left as it is: looking at it under its lock took more than %s", tenant, PATIENCE)
        if report.repaired:
            self._on_commit()

    async def _adjust(self, connection: Any, report: Report, seen: Seen) -> None:
        doubted = _doubted(report)
        if doubted is None:
            return
        now = self._clock.now()
        events, account = rules.adjustments(report.tenant, report.id, now, seen.look, doubted)
        if seen.look.images:
            report.recounted = await adjusting.recount_images(connection, report.tenant)
        if events and account.bytes >= 0 and account.files >= 0:
            head = await adjusting.lock(connection, report.tenant)
            assert head is not None  # noqa: S101 - its account was just looked at
            used, files = account.bytes, account.files
            report.repaired = await adjusting.adjust(connection, report.tenant, head, events, used, files)
        if not report.is_repaired:
            return
        left = [found for found in report.differences if not _is_right(found, report, doubted)]
        await repository.note_drift(connection, report.tenant, left)
        await repository.note_gap(connection, report.tenant, None, APART)
        await _keep(connection, report)
        faults.reach("upload.adjusting")


async def _audit(connection: Any, tenant: UUID, position: int) -> list[Difference]:
    """The ledger against itself: it hangs together, and its columns are what was hashed."""
    try:
        await verify(connection, tenant, position)
    except ChainBroken as broken:
        return [Difference("chain", "ledger", Amount(0, position - broken.seq + 1), seq=broken.seq)]
    altered, first = await looks.count_altered(connection, tenant, position)
    return [Difference("columns", "ledger", Amount(0, altered), seq=first)] if altered else []


async def _keep(connection: Any, report: Report) -> None:
    kept = Reconciliation(
        id=report.id,
        tenant_id=report.tenant,
        at=report.at,
        position=report.look.position,
        differing=bool(report.differences),
        repaired=report.is_repaired,
        result=ReconciliationOut.of(report).model_dump(mode="json"),
    )
    await repository.keep(connection, kept)


def _doubted(report: Report) -> set[Kind] | None:
    """Kinds that are left alone. None: everything, where nobody looked into the store or the ledger was altered."""
    if report.objects is None or any(found.side in ("chain", "columns") for found in report.differences):
        return None
    return rules.doubtful(report.look, report.objects)


def _is_right(found: Difference, report: Report, doubted: set[Kind]) -> bool:
    """Whether a recount or an adjustment has put it right."""
    if found.side == "images" or not report.repaired:
        return found.side == "images"
    return found.side in ("checkpoint", "account") or (found.side == "ledger" and found.kind not in doubted)
