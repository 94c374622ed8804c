from datetime import datetime, timedelta
from uuid import UUID

from services.usage.errors import NotYet
from services.usage.past.schemas import PastOut
from services.usage.proof.provider import Ledger
from shared.clock import Clock

SKEW = timedelta(seconds=5)  # a client's clock may be ahead of ours


class PastService:
    """What was stored at any past moment: the fold of the ledger, which forgets nothing."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def look_back(self, tenant: UUID, time: datetime) -> PastOut:
        """Raises NotYet, LedgerUnreachable."""
        if time > self._clock.now() + SKEW:
            raise NotYet
        return PastOut.of(await self._ledger.look_back(tenant, time))
