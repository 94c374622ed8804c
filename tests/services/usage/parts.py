"""The service put together on fakes."""

from dataclasses import dataclass

from services.usage.counters.reader import CounterReader
from services.usage.counters.service import CounterService
from services.usage.entitlements.rules import Terms
from services.usage.entitlements.service import EntitlementService
from services.usage.live.service import Changes, LiveUsage
from services.usage.proof.service import ProofService
from services.usage.thresholds.service import ThresholdService
from shared.clock import FixedClock
from shared.db import Database
from shared.kafka.records import Record
from tests.services.usage.fakes import FakeBilling, FakeLedger
from tests.services.usage.samples import START


@dataclass(frozen=True)
class Parts:
    billing: FakeBilling
    ledger: FakeLedger
    counters: CounterService
    reader: CounterReader
    changes: Changes
    live: LiveUsage
    proof: ProofService
    announced: list[bool]
    worker: Database

    async def apply(self, *records: Record) -> None:
        async with self.worker.transaction() as connection:
            await self.counters.apply(connection, records)


def parts(app: Database, worker: Database) -> Parts:
    billing, ledger, announced = FakeBilling(Terms(1, "free", 100)), FakeLedger(), list[bool]()
    counters = CounterService(ThresholdService(), FixedClock(START))
    reader = CounterReader(app, EntitlementService(app, billing, counters, lambda: announced.append(True)))
    changes = Changes(app.dsn)
    live = LiveUsage(reader, changes)
    proof = ProofService(reader, live, ledger)
    return Parts(billing, ledger, counters, reader, changes, live, proof, announced, worker)
