import asyncio
from uuid import UUID

from services.usage.counters.reader import CounterReader
from services.usage.counters.snapshot import Snapshot
from services.usage.counters.tally import Amount
from services.usage.errors import ProofUnsettled
from services.usage.live.service import LiveUsage
from services.usage.proof import rules
from services.usage.proof.provider import Ledger, LedgerProof
from services.usage.proof.rules import Line
from services.usage.proof.schemas import AmountOut, LineOut, ProofOut, StoreOut

PATIENCE = 10.0  # seconds until counters and store are seen at the same position


class ProofService:
    """Compares what was written down, what was counted and what is there."""

    def __init__(self, reader: CounterReader, live: LiveUsage, ledger: Ledger) -> None:
        self._reader = reader
        self._live = live
        self._ledger = ledger

    async def prove(self, tenant: UUID) -> ProofOut:
        """Raises LedgerUnreachable, EntitlementsUnknown, or ProofUnsettled when files never stop coming and going."""
        clock = asyncio.get_running_loop()
        deadline = clock.time() + PATIENCE
        usage = await self._reader.read(tenant)
        while True:
            ledger = await self._ledger.prove(tenant, usage.position)
            store = ledger.store.checked_at_position
            if ledger.position == usage.position == store:
                return _compare(usage, ledger)
            left = deadline - clock.time()
            if left <= 0:
                raise ProofUnsettled(usage.position, store)
            # The store is ahead of the counters: look again as soon as they have caught up with it.
            usage = await self._live.wait(tenant, max(store, usage.position + 1) - 1, None, min(left, 2.0))


def _compare(usage: Snapshot, ledger: LedgerProof) -> ProofOut:
    written = {(p.file_type, p.category): Amount(p.bytes, p.files) for p in ledger.by_category}
    counted = {(p.file_type, p.category): Amount(p.total_size, p.file_count) for p in usage.breakdown}
    kinds = rules.lines(written, counted)
    totals = [
        Amount(ledger.bytes, ledger.files),
        rules.total(written),
        Amount(usage.bytes, usage.files),
        rules.total(counted),
        Amount(ledger.store.bytes, ledger.store.files),
    ]
    return ProofOut(
        position=usage.position,
        as_of=usage.as_of,
        head_hash=ledger.head_hash,
        ledger=AmountOut(bytes=ledger.bytes, files=ledger.files),
        counters=AmountOut(bytes=usage.bytes, files=usage.files),
        store=StoreOut(**ledger.store.model_dump()),
        equal=rules.holds(totals, kinds, len(ledger.store.missing)),
        by_category=[_line(line) for line in kinds],
    )


def _line(line: Line) -> LineOut:
    return LineOut(
        file_type=line.kind[0],
        category=line.kind[1],
        ledger=AmountOut(bytes=line.ledger.bytes, files=line.ledger.files),
        counters=AmountOut(bytes=line.counters.bytes, files=line.counters.files),
        equal=line.equal,
    )
