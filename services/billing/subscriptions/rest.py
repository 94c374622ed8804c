"""A period that ends early: what is left of it pays for what follows, and the rest is credit, to the minor unit."""

from datetime import datetime
from typing import Any
from uuid import UUID

from services.billing.catalogue.plan import Plan, Price
from services.billing.credits.packs import LateMoney
from services.billing.errors import RestNotCreditable
from services.billing.invoices.bill import PaymentBills, credits_title, days_under_way, unused_time
from services.billing.invoices.rules import Item
from services.billing.subscriptions.repository import Subscription
from shared.money import Money


class Rest:
    """Credits as for late money: at the dearest rate of the packs, rounded up."""

    def __init__(self, late: LateMoney, bills: PaymentBills) -> None:
        self._late = late
        self._bills = bills

    async def give(self, connection: Any, tenant: UUID, left: Money, price: Price | None, held: Subscription) -> int:
        """The credits. Comes before the change, whose events come after the account. Raises RestNotCreditable."""
        rest = Money(left.amount - (price.money.amount if price else 0), left.currency)
        if rest.amount <= 0:
            return 0
        why = f"{rest.text} {rest.currency} that were left of {held.plan}"
        given = await self._late.give(connection, tenant, rest, f"left over:{held.version}", why)
        if given is None:
            raise RestNotCreditable(rest.currency)
        return given

    async def bill(
        self, connection: Any, tenant: UUID, left: Money, given: int, plan: Plan, price: Price | None, at: datetime
    ) -> None:
        """Its lines sum to nothing: no money moves. After the change, and last, as all invoices."""
        amount, items = price.money.amount if price else 0, list[Item]()
        if price is not None:
            days = await days_under_way(connection, tenant)
            items.append(Item(f"Stowage {plan.name}", 1, amount, *days))
        items.append(await unused_time(connection, tenant, left.amount))
        if left.amount > amount:
            items.append(Item(await credits_title(connection, tenant, given), 1, left.amount - amount))
        await self._bills.bill_change(connection, tenant, items, left.currency, at)
