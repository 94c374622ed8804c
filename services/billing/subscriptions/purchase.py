"""Going over to more: a new period, less what is left of the one under way."""

from datetime import datetime

from services.billing.catalogue.plan import Plan, Price
from services.billing.errors import NothingToPay, OtherCurrency, RefundUnderWay
from services.billing.payments.fulfilment import Purchase
from services.billing.subscriptions.repository import Subscription
from shared.money import Money


def rest_of(held: Subscription, now: datetime) -> Money | None:
    """What is left, to be taken off or given. Raises RefundUnderWay: nobody knows yet how much that is."""
    left = held.left(now)
    if left is not None and left.amount and held.refunding:
        raise RefundUnderWay
    return left


def due(price: Price, held: Subscription, now: datetime) -> Money:
    """Nothing where what is left covers it."""
    left = held.left(now)
    if left is None or left.currency != price.currency:
        return price.money
    return Money(max(0, price.money.amount - left.amount), price.currency)


def plan_purchase(plan: Plan, price: Price, held: Subscription, now: datetime) -> Purchase:
    """What it takes off is honoured only while the period it was taken from goes on, and as long as no more of it is
    given back. Raises NothingToPay, OtherCurrency, RefundUnderWay.
    """
    rest = rest_of(held, now)
    if rest is not None and rest.amount and rest.currency != price.currency:
        raise OtherCurrency(rest.currency)
    told = {"plan": plan.code, "plan_version": str(plan.version), "interval": price.interval}
    money = due(price, held, now)
    if not money.amount:
        raise NothingToPay(plan.code)
    if money != price.money and held.period_start is not None:
        left = Money(price.money.amount - money.amount, price.currency)
        told |= {"left": left.text, "left_of": held.plan, "left_since": held.period_start.isoformat()}
        told["left_refunded"] = str(held.refunded)
    return Purchase("plan", plan.code, money, told, plan.code, plan.version)


def still_left(told: dict[str, str], held: Subscription) -> bool:
    """Whether the period that something was taken off for goes on, is paid, and no more of that was given back."""
    if "left" not in told:
        return True
    if held.refunding or told.get("left_refunded", "0") != str(held.refunded):
        return False
    since = held.period_start.isoformat() if held.period_start else None
    return (held.plan, since, held.status) == (told["left_of"], told["left_since"], "active")
