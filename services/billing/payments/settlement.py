"""What a provider says, held against what was asked, and carried out once."""

import logging
from typing import Any, cast
from uuid import UUID

import asyncpg
from prometheus_client import Counter

from services.billing.catalogue.plan import Interval
from services.billing.payments import repository
from services.billing.payments.repository import Payment
from services.billing.payments.rules import Claim, Status, Verdict, judge, may_become
from services.billing.plans import repository as plans
from services.billing.subscriptions.service import SubscriptionService
from shared import outbox
from shared.clock import Clock
from shared.db.database import savepoint
from shared.events import PaymentCancelled, PaymentCompleted, PaymentEvent, PaymentFailed

log = logging.getLogger(__name__)

SETTLED = Counter("stowage_billing_payments_total", "Payments by what became of them", ["status", "method"])

_EVENTS: dict[Status, type[PaymentEvent]] = {
    "completed": PaymentCompleted,
    "failed": PaymentFailed,
    "cancelled": PaymentCancelled,
}


class Settlement:
    """The one path on which a payment changes: callbacks, the janitor's answers and cancelling all come here."""

    def __init__(self, subscriptions: SubscriptionService, clock: Clock) -> None:
        self._subscriptions = subscriptions
        self._clock = clock

    async def settle(self, connection: Any, claim: Claim, source: str) -> Verdict:
        """The payment's row is locked until the commit, so of any number of the same claims one changes something.
        Completion, plan, entitlements and events are that one commit.
        """
        payment = await repository.find(connection, UUID(claim.payment_id), lock=True)
        if payment is None:
            return Verdict("rejected", "no such payment")
        verdict = judge(payment.asked, claim)
        if verdict.verdict != "accepted":
            return verdict
        try:
            async with savepoint(connection):
                await self._move(connection, payment, claim.status, source, claim)
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name != repository.EXTERNAL_ID:
                raise
            return Verdict("rejected", "payment ids do not belong together")
        return verdict

    async def close(self, connection: Any, payment_id: UUID, status: Status, source: str) -> bool:
        """Ends a payment the provider knows nothing of. False when it has become something else meanwhile."""
        payment = await repository.find(connection, payment_id, lock=True)
        if payment is None or not may_become(payment.status, status):
            return False
        await self._move(connection, payment, status, source, None)
        return True

    async def _move(self, connection: Any, payment: Payment, status: Status, source: str, claim: Claim | None) -> None:
        now = self._clock.now()
        external = claim.external_id if claim else None
        transaction = claim.transaction_id if claim else None
        await repository.move(
            connection, payment, status, source, now, external_id=external, transaction_id=transaction
        )
        if status == "completed":
            plan = await plans.get(connection, payment.plan, payment.plan_version)
            # None is from when a plan had one price.
            interval = cast("Interval | None", payment.metadata.get("interval"))
            await self._subscriptions.change(connection, payment.tenant_id, plan, interval)
        event = _EVENTS.get(status)
        if event is None:
            return
        told = event(
            tenant_id=payment.tenant_id,
            payment_id=payment.id,
            amount=payment.amount,
            currency=payment.currency,
            method=payment.method,
            plan=payment.plan,
            at=now,
        )
        await outbox.append(connection, [told], at=now)
        SETTLED.labels(status, payment.method).inc()
