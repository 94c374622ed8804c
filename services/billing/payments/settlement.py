"""What a provider says, held against what was asked, and carried out once."""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from prometheus_client import Counter

from services.billing.payments import refund_rows, repository
from services.billing.payments.fulfilment import Bills, Credit, Fulfilment
from services.billing.payments.refund_rows import Refund
from services.billing.payments.repository import Payment
from services.billing.payments.rules import Claim, Status, Verdict, effect_of, judge, may_become
from services.billing.subscriptions import repository as subscriptions
from shared import outbox
from shared.clock import Clock
from shared.db.database import savepoint
from shared.events import PaymentCancelled, PaymentCompleted, PaymentEvent, PaymentFailed, PaymentPurpose
from shared.ids import new_id
from shared.money import Money

log = logging.getLogger(__name__)

SETTLED = Counter("stowage_billing_payments_total", "Payments by what became of them", ["status", "method"])

TOO_LATE = "paid after it was given up"
NO_MORE = "what it was for was no more"
MORE = "more than was left to pay"
TEAM_GONE = "its team is deleted"

_EVENTS: dict[Status, type[PaymentEvent]] = {
    "failed": PaymentFailed,
    "cancelled": PaymentCancelled,
}


class Settlement:
    """The one path on which a payment changes: callbacks, the janitor's answers and cancelling all come here."""

    def __init__(
        self,
        fulfilments: Mapping[PaymentPurpose, Fulfilment],
        credit: Credit,
        clock: Clock,
        bills: Bills | None = None,
    ) -> None:
        self._fulfilments = fulfilments
        self._credit = credit
        self._clock = clock
        self._bills = bills

    async def settle(self, connection: Any, claim: Claim, source: str) -> Verdict:
        """The payment's row is locked until the commit, so of any number of the same claims one changes something.
        Completion, what was paid for and the events are that one commit.
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
        if status == "completed":
            await repository.lock_slot(connection, payment.tenant_id, payment.purpose)
        await repository.move(
            connection, payment, status, source, now, external_id=external, transaction_id=transaction
        )
        SETTLED.labels(status, payment.method).inc()
        if status == "completed":
            await self._complete(connection, payment, now)
            return
        event = _EVENTS.get(status)
        if event is not None:
            await outbox.append(connection, [_told(event, payment, now)], at=now)

    async def _complete(self, connection: Any, payment: Payment, now: datetime) -> None:
        """What was paid for is given; money that is not wanted for it becomes credit, or waits to be given back."""
        used, gone, why = await self._use(connection, payment)
        rest = Money(payment.amount - used, payment.currency)
        # Before the events: everybody locks the credits first, the head of the events second.
        given = await self._credit.as_credit(connection, payment, rest) if rest.amount and not gone else None
        if used:
            await outbox.append(connection, [_told(PaymentCompleted, payment, now)], at=now)
        if rest.amount:
            await self._note_rest(connection, payment, rest, given, why, now)
        if self._bills is None:
            return
        # Last: the numbers of invoices are given one transaction after the other.
        if used:
            await self._bills.bill(connection, payment, now)
        if given is not None:
            await self._bills.bill_credits(connection, payment, rest, given, now)

    async def _use(self, connection: Any, payment: Payment) -> tuple[int, bool, str]:
        """Minor units that were wanted, whether the team is gone, and why the rest is not."""
        if await subscriptions.hold_deleted(connection, payment.tenant_id):
            return 0, True, TEAM_GONE
        if await self._is_too_late(connection, payment):
            return 0, False, TOO_LATE
        used = await self._fulfilments[payment.purpose].fulfil(connection, payment)
        return used, False, MORE if used else NO_MORE

    async def _is_too_late(self, connection: Any, payment: Payment) -> bool:
        replaced = payment.status == "failed" and await repository.is_replaced(connection, payment)
        return effect_of(payment.status, replaced=replaced) == "credit"

    async def _note_rest(
        self, connection: Any, payment: Payment, rest: Money, given: int | None, reason: str, now: datetime
    ) -> None:
        """The money came, and nobody waits for what it was for: it is the team's, and they are told."""
        refund = Refund.of(payment, new_id(), rest.amount, client_id="credit", reason=reason, by="billing", at=now)
        if given is None:
            await repository.owe(connection, payment, rest.amount)
        else:
            await refund_rows.insert(connection, refund)
            await refund_rows.set_status(connection, refund.id, "completed", now, external_id="credit")
        step = "refund_due" if given is None else "refunded"
        await repository.note(connection, payment, "completed", step, reason, now)
        event = refund_rows.event_of(payment, refund, "due" if given is None else "credit", now)
        await outbox.append(connection, [event], at=now)
        log.warning("payment %s: %s %s %s: %s", payment.id, rest.text, rest.currency, step, reason)


def _told(event: type[PaymentEvent], payment: Payment, at: datetime) -> PaymentEvent:
    return event(
        tenant_id=payment.tenant_id,
        payment_id=payment.id,
        amount=payment.amount,
        currency=payment.currency,
        method=payment.method,
        plan=payment.plan,
        at=at,
        purpose=payment.purpose,
        subject=payment.subject,
    )
