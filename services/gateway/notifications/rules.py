"""What an event says to people. Pure; the one place for these words."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from shared.events import (
    Event,
    InvoiceDue,
    Metric,
    PaymentCompleted,
    PaymentFailed,
    PaymentRefunded,
    SubscriptionChanged,
    ThresholdCrossed,
)
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


@dataclass(frozen=True, slots=True)
class _Words:
    """Of one metric: `is_` and `has` as its name wants them, `full` and `near` what follows at the limit and before."""

    name: str
    is_: str
    has: str
    text: Callable[[int], str]
    spent: str  # at the limit it is …
    full: str
    near: str


def _number(amount: int) -> str:
    return f"{amount:,}"


_MONTH = "It begins from nothing with the next month."
_WORDS: dict[Metric, _Words] = {
    "storage": _Words(
        "storage",
        "is",
        "has",
        format_bytes,
        "full",
        "Nothing more can be uploaded until you upgrade or delete files.",
        "Uploads that do not fit will be refused.",
    ),
    "traffic": _Words("traffic", "is", "has", format_bytes, "used up", _MONTH, _MONTH),
    "images": _Words(
        "images of the month",
        "are",
        "have",
        _number,
        "used up",
        "No more can be uploaded until you upgrade, or the next month begins.",
        "What is over the limit will be refused.",
    ),
    "requests": _Words("requests", "are", "have", _number, "used up", _MONTH, _MONTH),
    "disk": _Words("disk usage", "is", "has", format_bytes, "full", "", ""),
    "members": _Words("seats", "are", "have", _number, "taken", "Nobody can be added until you upgrade.", ""),
    "projects": _Words("projects", "are", "have", _number, "used up", "No more can be made until you upgrade.", ""),
    "credits": _Words(
        "credits", "are", "have", _number, "used up", "Nothing can be paid with them until you add some.", ""
    ),
}


def _crossing(event: ThresholdCrossed) -> tuple[str, str, str]:
    """Kind, title and body."""
    words = _WORDS[event.metric]
    used = words.text(event.used)
    if event.limit is None or event.percent is None:
        passed = f"{event.percent} %" if event.percent is not None else words.text(event.amount or 0)
        of = "" if event.limit is None else f" of {words.text(event.limit)}"
        title = f"Your {words.name} {words.has} reached {passed}"
        return f"{event.metric}_warning", title, f"{used}{of} are used."
    return _share(event, words, f"{used} of {words.text(event.limit)} are used", event.limit, event.percent)


def _share(event: ThresholdCrossed, words: _Words, used: str, limit: int, percent: int) -> tuple[str, str, str]:
    left = words.text(max(0, limit - event.used))
    share = f"{percent} % of your {words.name} {words.is_} used"
    if percent >= FULL_PERCENT:
        title = f"Your {words.name} {words.is_} {words.spent}"
        return f"{event.metric}_full", title, f"{used}. {words.full}".rstrip()
    if percent >= CRITICAL_PERCENT:
        return f"{event.metric}_critical", f"Critical: {share}", f"{used}, {left} are left. {words.near}".rstrip()
    return f"{event.metric}_warning", share, f"{used}, {left} are left."


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
        mail=True,
    )


_GIVEN_BACK = {
    "provider": "It is on its way back to you.",
    "credit": "It came too late for what it was meant for, so you have credits for it.",
    "due": "It came too late for what it was meant for. We will give it back to you.",
}


@notice_of.register
def _(event: PaymentRefunded) -> Notice:
    text = f"{Money(event.amount, event.currency).text} {event.currency}"
    return Notice(
        "payment_refunded", "A payment is given back", f"{text}: {_GIVEN_BACK[event.to]}", _payment(event), mail=True
    )


@notice_of.register
def _(event: InvoiceDue) -> Notice:
    text = f"{Money(event.gross, event.currency).text} {event.currency}"
    title = "Your next period begins" if event.reminder == 1 else "Reminder: an invoice is open"
    body = f"Invoice {event.number} over {text} is to be paid. Until {event.ends_at:%d %B %Y} everything goes on."
    data = {"invoice_id": str(event.invoice_id), "number": event.number, "ends_at": event.ends_at.isoformat()}
    return Notice("invoice_due", title, body, data, action=("/app/plans", "Pay the invoice"), mail=True)


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


def _payment(event: PaymentCompleted | PaymentFailed | PaymentRefunded) -> dict[str, Any]:
    return {
        "payment_id": str(event.payment_id),
        "plan": event.plan,
        "method": event.method,
        "amount": Money(event.amount, event.currency).text,
        "currency": event.currency,
    }
