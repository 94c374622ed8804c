"""Asks the provider about every payment that stays open: a callback may have been lost, or an answer."""

import asyncio
import logging
from collections.abc import Callable

from prometheus_client import Counter, Gauge

from services.billing.errors import ProviderUnavailable
from services.billing.payments import repository
from services.billing.payments.provider import ProviderRefused, Providers, ProviderSilent
from services.billing.payments.repository import Payment
from services.billing.payments.rules import Claim, next_check
from services.billing.payments.service import PaymentService
from services.billing.payments.settlement import Settlement
from shared.clock import Clock
from shared.db import Database

log = logging.getLogger(__name__)

FOUND = Counter("stowage_billing_janitor_found_total", "Payments settled without a callback", ["status"])
OWED = Gauge("stowage_billing_payments_owed", "Payments of which something is still to be given back by staff")
OLDEST = Gauge("stowage_billing_payments_open_seconds", "Age of the oldest open payment, 0 without one")


class Janitor:
    """`first` seconds after the start, then at doubling distances, an hour at most and then for ever. Safe to run in
    several processes.
    """

    def __init__(
        self,
        database: Database,
        payments: PaymentService,
        settlement: Settlement,
        providers: Providers,
        clock: Clock,
        *,
        first: float,
        wake: Callable[[], object],
    ) -> None:
        self._database = database
        self._payments = payments
        self._settlement = settlement
        self._providers = providers
        self._clock = clock
        self._first = first
        self._wake = wake

    async def run(self) -> None:
        now = self._clock.now()
        async with self._database.transaction() as connection:
            due = await repository.list_due(connection, now)
            oldest = await repository.find_oldest_open(connection)
            OWED.set(await repository.count_owed(connection))
        OLDEST.set(0 if oldest is None else (now - oldest).total_seconds())
        by_provider: dict[str, list[Payment]] = {}
        for payment in due:
            by_provider.setdefault(payment.provider, []).append(payment)
        # Side by side: a provider that does not answer holds up its own payments, and nobody else's.
        await asyncio.gather(*(self._ask_one_after_another(found) for found in by_provider.values()))

    async def _ask_one_after_another(self, due: list[Payment]) -> None:
        """Until the provider is silent: who waited in vain once need not wait for each of a hundred."""
        for payment in due:
            try:
                await self._ask(payment)
            except ProviderSilent as error:
                log.info("nothing known of payment %s yet: %s", payment.id, error)
                return
            except Exception:
                # It has its next time already; the others must not wait for that.
                log.exception("payment %s could not be asked about", payment.id)

    async def _ask(self, payment: Payment) -> None:
        """Raises ProviderSilent."""
        # First of all, so that one that always fails does not keep the others waiting.
        async with self._database.transaction() as connection:
            later = self._clock.now() + next_check(self._first, payment.checks + 1)
            await repository.set_checked(connection, payment.id, later)
        claim = await self._find_claim(payment)
        if claim is None:
            return
        async with self._database.transaction() as connection:
            verdict = await self._settlement.settle(connection, claim, "janitor")
        if verdict.verdict == "accepted":
            FOUND.labels(claim.status).inc()
            log.warning("payment %s was %s without a callback", payment.id, claim.status)
            self._wake()
        elif verdict.verdict == "rejected":
            log.error("the provider's answer contradicts payment %s: %s", payment.id, verdict.reason)

    async def _find_claim(self, payment: Payment) -> Claim | None:
        try:
            if payment.payment_url is None:
                # The answer was lost, or the order: the same order again is the same payment.
                payment = await self._payments.open(payment)
            return await self._providers.get(payment.provider).status(str(payment.external_id))
        except ProviderUnavailable as error:
            if isinstance(error.__cause__, ProviderSilent):
                raise error.__cause__ from None
            log.info("nothing known of payment %s yet: %s", payment.id, error)
            return None
        except ProviderRefused as error:
            log.info("nothing known of payment %s yet: %s", payment.id, error)
            return None
