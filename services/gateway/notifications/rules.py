"""What an event says to people. Pure; the one place for these words."""

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from shared.events import Event, PaymentCompleted, PaymentFailed, SubscriptionChanged, ThresholdCrossed
from shared.money import Money
from shared.sizes import format_bytes

CRITICAL_PERCENT, FULL_PERCENT = 95, 100


@dataclass(frozen=True, slots=True)
class Notice:
    """`action` is a page of ours to go to; `note` and `mail` say where it is to be read."""

    kind: str
    title: str
    body: str
    data: dict[str, Any]
    action: tuple[str, str] = ("/app", "Open your storage")
    note: bool = True
    mail: bool = False


@singledispatch
def notice_of(event: Event) -> Notice | None:
    """None when nobody needs to hear of it."""
    del event
    return None


@notice_of.register
def _(event: ThresholdCrossed) -> Notice | None:
    if not event.speaks or not event.channels:
        return None
    kind, title, body = _crossing(event)
    data = {"metric": event.metric, "percent": event.percent, "used": event.used, "limit": event.limit}
    note, mail = "note" in event.channels, "mail" in event.channels
    return Notice(kind, title, body, data, action=("/app/plans", "Compare plans"), note=note, mail=mail)


def _crossing(event: ThresholdCrossed) -> tuple[str, str, str]:
    """Kind, title and body."""
    used = format_bytes(event.used)
    if event.limit is None or event.percent is None:
        passed = f"{event.percent} %" if event.percent is not None else format_bytes(event.amount or 0)
        of = "" if event.limit is None else f" of {format_bytes(event.limit)}"
        return "storage_warning", f"Your storage has reached {passed}", f"{used}{of} are used."
    limit, left = format_bytes(event.limit), format_bytes(max(0, event.limit - event.used))
    if event.percent >= FULL_PERCENT:
        body = f"{used} of {limit} are used. Nothing more can be uploaded until you upgrade or delete files."
        return "storage_full", "Your storage is full", body
    if event.percent >= CRITICAL_PERCENT:
        body = f"{used} of {limit} are used, {left} are left. Uploads that do not fit will be refused."
        return "storage_critical", f"Critical: {event.percent} % of your storage is used", body
    body = f"{used} of {limit} are used, {left} are left."
    return "storage_warning", f"{event.percent} % of your storage is used", body


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
