"""What an event says to people. Pure; the one place for these words."""

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from shared.events import Event, PaymentCompleted, PaymentFailed, SubscriptionChanged, ThresholdCrossed
from shared.money import Money
from shared.sizes import format_bytes

CRITICAL_PERCENT = 95


@dataclass(frozen=True, slots=True)
class Notice:
    """`action` is a page of ours to go to; `mail` says whether it is worth an e-mail."""

    kind: str
    title: str
    body: str
    data: dict[str, Any]
    action: tuple[str, str] = ("/app", "Open your storage")
    mail: bool = False


@singledispatch
def notice_of(event: Event) -> Notice | None:
    """None when nobody needs to hear of it."""
    del event
    return None


@notice_of.register
def _(event: ThresholdCrossed) -> Notice | None:
    if not event.speaks or event.limit is None:
        return None
    used, limit = format_bytes(event.used), format_bytes(event.limit)
    left = format_bytes(max(0, event.limit - event.used))
    if event.percent >= 100:
        title, kind = "Your storage is full", "storage_full"
        body = f"{used} of {limit} are used. Nothing more can be uploaded until you upgrade or delete files."
    elif event.percent >= CRITICAL_PERCENT:
        title, kind = f"Critical: {event.percent} % of your storage is used", "storage_critical"
        body = f"{used} of {limit} are used, {left} are left. Uploads that do not fit will be refused."
    else:
        title, kind = f"{event.percent} % of your storage is used", "storage_warning"
        body = f"{used} of {limit} are used, {left} are left."
    data = {"metric": event.metric, "percent": event.percent, "used": event.used, "limit": event.limit}
    return Notice(kind, title, body, data, action=("/app/plans", "Compare plans"), mail=True)


@notice_of.register
def _(event: PaymentCompleted) -> Notice:
    text = f"{Money(event.amount, event.currency).text} {event.currency}"
    bought = f" for the plan {event.plan.capitalize()}" if event.plan else ""
    return Notice(
        "payment_completed", "Payment received", f"Thank you. We received {text}{bought}.", _payment(event), mail=True
    )


@notice_of.register
def _(event: PaymentFailed) -> Notice:
    text = f"{Money(event.amount, event.currency).text} {event.currency}"
    return Notice(
        "payment_failed",
        "Payment failed",
        f"The payment of {text} did not go through. Nothing was charged.",
        _payment(event),
        action=("/app/plans", "Try again"),
    )


@notice_of.register
def _(event: SubscriptionChanged) -> Notice | None:
    if event.previous_plan is None:
        return None  # the first plan comes with the account
    return Notice(
        "subscription_changed",
        f"Your plan is now {event.plan.capitalize()}",
        f"You moved from {event.previous_plan.capitalize()} to {event.plan.capitalize()}.",
        {"plan": event.plan, "previous_plan": event.previous_plan},
    )


def _payment(event: PaymentCompleted | PaymentFailed) -> dict[str, Any]:
    return {
        "payment_id": str(event.payment_id),
        "plan": event.plan,
        "method": event.method,
        "amount": Money(event.amount, event.currency).text,
        "currency": event.currency,
    }
