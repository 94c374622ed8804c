"""What an event tells people, before it has words (`wording`). Pure."""

from dataclasses import dataclass
from functools import singledispatch
from typing import Any, Literal, get_args
from uuid import UUID

from shared.events import (
    Event,
    ExportFailed,
    ExportReady,
    InvoiceDue,
    Metric,
    PaymentCompleted,
    PaymentFailed,
    PaymentRefunded,
    SubscriptionChanged,
    ThresholdCrossed,
)
from shared.money import Money

CRITICAL_PERCENT, FULL_PERCENT = 95, 100

# Of these mails a person may have no more. Payments, invoices and what concerns an account are always told.
Subject = Literal[
    "storage", "traffic", "images", "requests", "disk", "members", "projects", "credits", "plan", "export"
]
SUBJECTS: tuple[Subject, ...] = get_args(Subject)

Action = Literal["storage", "plans", "again", "invoice", "export"]
_PATHS: dict[Action, str] = {
    "storage": "/app",
    "plans": "/app/plans",
    "again": "/app/plans",
    "invoice": "/app/plans#invoices",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """`kind` and `data` are what it says, in any language. `action` is what to do about it, at the page `path`;
    `note` and `mail` say where it is to be read. `person` is whom it concerns, None the owner of the team.
    """

    kind: str
    data: dict[str, Any]
    action: Action = "storage"
    path: str = _PATHS["storage"]
    subject: Subject | None = None
    note: bool = True
    mail: bool = True
    person: UUID | None = None


@singledispatch
def notice_of(event: Event) -> Notice | None:
    """None when nobody needs to hear of it."""
    del event
    return None


@notice_of.register
def _(event: ThresholdCrossed) -> Notice | None:
    if not event.speaks or not event.channels:
        return None
    fields: set[str] = {"metric", "percent", "used", "limit", "amount"}
    return Notice(
        f"{event.metric}_{_level(event)}",
        event.model_dump(include=fields),
        "plans",
        _PATHS["plans"],
        event.metric,
        note="note" in event.channels,
        mail="mail" in event.channels,
    )


def _level(event: ThresholdCrossed) -> Literal["warning", "critical", "full"]:
    if event.limit is None or event.percent is None or event.percent < CRITICAL_PERCENT:
        return "warning"
    return "full" if event.percent >= FULL_PERCENT else "critical"


@notice_of.register
def _(event: PaymentCompleted) -> Notice:
    return Notice("payment_completed", _payment(event))


@notice_of.register
def _(event: PaymentFailed) -> Notice:
    return Notice("payment_failed", _payment(event), "again", _PATHS["again"])


@notice_of.register
def _(event: PaymentRefunded) -> Notice:
    return Notice("payment_refunded", _payment(event) | {"to": event.to})


@notice_of.register
def _(event: InvoiceDue) -> Notice:
    data = {
        "invoice_id": str(event.invoice_id),
        "number": event.number,
        "amount": Money(event.gross, event.currency).text,
        "currency": event.currency,
        "reminder": event.reminder,
        "ends_at": event.ends_at.isoformat(),
    }
    return Notice("invoice_due", data, "invoice", _PATHS["invoice"])


@notice_of.register
def _(event: SubscriptionChanged) -> Notice | None:
    lower = event.lower.model_dump(exclude_none=True)
    if event.previous_plan is None or (event.previous_plan == event.plan and not lower):
        return None  # the first plan comes with the account; another price of the same is told with its payment
    data = {"plan": event.plan, "previous_plan": event.previous_plan, "lower": lower, "unpaid": event.unpaid}
    return Notice("subscription_changed", data, "plans", _PATHS["plans"], "plan")


@notice_of.register
def _(event: ExportReady) -> Notice:
    data = {
        "export_id": str(event.export_id),
        "size": event.size,
        "complete": event.complete,
        "expires_at": event.expires_at.isoformat(),
    }
    path = f"/app/exports/{event.export_id}"
    return Notice("export_ready", data, "export", path, "export", person=event.requested_by)


@notice_of.register
def _(event: ExportFailed) -> Notice:
    """It leads to the page that says so, where another may be asked for."""
    data = {"export_id": str(event.export_id), "error": event.error}
    return Notice(
        "export_failed", data, "storage", f"/app/exports/{event.export_id}", "export", person=event.requested_by
    )


def metric_of(kind: str) -> Metric:
    """What a threshold's notice is about. Raises KeyError for any other kind."""
    metric = kind.rpartition("_")[0]
    if metric not in get_args(Metric):
        raise KeyError(kind)
    found: Metric = metric  # type: ignore[assignment]
    return found


def _payment(event: PaymentCompleted | PaymentFailed | PaymentRefunded) -> dict[str, Any]:
    return {
        "payment_id": str(event.payment_id),
        "plan": event.plan,
        "method": event.method,
        "amount": Money(event.amount, event.currency).text,
        "currency": event.currency,
    }
