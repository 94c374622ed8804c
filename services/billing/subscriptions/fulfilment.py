"""A plan that was paid for."""

from typing import Any, cast

from services.billing.catalogue.plan import Interval
from services.billing.payments.repository import Payment
from services.billing.plans import repository as plans
from services.billing.subscriptions import period_rows, repository
from services.billing.subscriptions.purchase import still_left
from services.billing.subscriptions.rules import Part, carried
from services.billing.subscriptions.service import SubscriptionService
from shared.money import Money


class PlanFulfilment:
    """Where what was taken off is no more, because the period ended, was changed or refunded meanwhile, nothing is
    bought.
    """

    def __init__(self, subscriptions: SubscriptionService) -> None:
        self._subscriptions = subscriptions

    async def fulfil(self, connection: Any, payment: Payment) -> int:
        if payment.plan is None or payment.plan_version is None:
            raise ValueError("a payment for a plan names one")
        await self._subscriptions.provision(connection, payment.tenant_id)
        held = await repository.lock(connection, payment.tenant_id)
        if not still_left(payment.metadata, held):
            return 0
        parts = await period_rows.list_of(connection, payment.tenant_id)
        plan = await plans.get(connection, payment.plan, payment.plan_version)
        # Without an interval it is from when a plan had one price.
        interval = cast("Interval | None", payment.metadata.get("interval"))
        await self._subscriptions.change(connection, payment.tenant_id, plan, plan.price_in(payment.currency, interval))
        left = Money.parse(payment.metadata.get("left", "0"), payment.currency).amount
        over = carried(parts, held.price or 0, left) if left else []
        await period_rows.put(connection, payment.tenant_id, [*over, Part(payment.id, payment.amount)])
        return payment.amount

    def title(self, payment: Payment) -> str:
        return f"Stowage {str(payment.plan).title()}"
