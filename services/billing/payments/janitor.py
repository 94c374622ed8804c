"""Asks the provider about every payment that stays open: a callback may have been lost, or an answer."""

import logging
from collections.abc import Callable

from prometheus_client import Counter

from services.billing.errors import ProviderUnavailable
from services.billing.payments import repository
from services.billing.payments.provider import Provider, ProviderRefused, ProviderSilent
from services.billing.payments.repository import Payment
from services.billing.payments.rules import Claim, next_check
from services.billing.payments.service import PaymentService
from services.billing.payments.settlement import Settlement
from shared.clock import Clock
from shared.db import Database

log = logging.getLogger(__name__)

FOUND = Counter("stowage_billing_janitor_found_total", "Payments settled without a callback", ["status"])


class Janitor:
    """`first` seconds after the start, then at doubling distances. Safe to run in several processes."""

    def __init__(
        self,
        database: Database,
        payments: PaymentService,
        settlement: Settlement,
        provider: Provider,
        clock: Clock,
        *,
        first: float,
        wake: Callable[[], object],
    ) -> None:
        self._database = database
        self._payments = payments
        self._settlement = settlement
        self._provider = provider
        self._clock = clock
        self._first = first
        self._wake = wake

    async def run(self) -> None:
        async with self._database.transaction() as connection:
            due = await repository.list_due(connection, self._clock.now())
        for payment in due:
            await self._ask(payment)

    async def _ask(self, payment: Payment) -> None:
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
            return await self._provider.status(str(payment.external_id))
        except (ProviderUnavailable, ProviderSilent, ProviderRefused) as error:
            log.info("nothing known of payment %s yet: %s", payment.id, error)
            return None
