"""How the business goes: definitions are in docs/billing.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.billing.metrics import repository
from services.billing.metrics.rules import MethodPayments, Part, preferred
from shared.clock import Clock
from shared.db import Database
from shared.events import PaymentMethod
from shared.money import Money

PERIOD = timedelta(days=30)  # where none is named


@dataclass(frozen=True, slots=True)
class Metrics:
    """From `since` on and before `to`; `recurring` and who is lost at `as_of`, which is `to` or, before that, now."""

    since: datetime
    to: datetime
    as_of: datetime
    conversion: Part
    payments: Sequence[MethodPayments]
    recurring: Sequence[tuple[Money, int]]
    churn: Part

    @property
    def preferred(self) -> PaymentMethod | None:
        return preferred(self.payments)


class MetricsService:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def get(self, since: datetime | None = None, to: datetime | None = None) -> Metrics:
        now = self._clock.now()
        to = to or now
        since = since or min(to, now) - PERIOD
        as_of = min(to, now)
        async with self._database.snapshot() as connection:
            return Metrics(
                since=since,
                to=to,
                as_of=as_of,
                conversion=await repository.conversion(connection, since, to),
                payments=await repository.payments(connection, since, to),
                recurring=await repository.recurring(connection, as_of),
                churn=await repository.churn(connection, since, as_of),
            )
