"""Events of other services, as the consumer hands them on."""

from datetime import UTC, date, datetime
from typing import Any, Literal
from uuid import UUID

from services.gateway.notifications.handlers import NotificationHandlers
from services.gateway.notifications.refusals import StopLinks
from shared.db import Database
from shared.events import (
    Event,
    ExportFailed,
    ExportReady,
    InvoiceDue,
    Lower,
    Metric,
    PaymentCompleted,
    PaymentFailed,
    PaymentRefunded,
    SubscriptionChanged,
    ThresholdCleared,
    ThresholdCrossed,
)
from shared.ids import new_id
from shared.kafka import Record

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HANDLERS = NotificationHandlers("https://stowage.test", StopLinks("https://stowage.test", b"key of the tests"))


async def apply(worker_dsn: str, *records: Record) -> None:
    """As the consumer does, in one commit."""
    async with Database(worker_dsn) as database, database.transaction() as connection:
        await HANDLERS.apply(connection, records)


def crossed(tenant: UUID, percent: int, *, speaks: bool = True) -> ThresholdCrossed:
    used = 1024 * 1024 * percent
    return ThresholdCrossed(
        tenant_id=tenant,
        metric="storage",
        percent=percent,
        used=used,
        limit=104857600,
        period=date(2026, 3, 1),
        armed=1,
        at=AT,
        speaks=speaks,
    )


def passed(metric: Metric, percent: int | None, used: int, limit: int | None = None) -> ThresholdCrossed:
    """A percent of a limit, or what is used as an amount."""
    told = {"metric": metric, "percent": percent, "used": used, "limit": limit, "amount": None if percent else used}
    return crossed(new_id(), 1).model_copy(update=told)


def cleared(tenant: UUID, percent: int) -> ThresholdCleared:
    return ThresholdCleared(**crossed(tenant, percent).model_dump(exclude={"speaks"}))


def paid(tenant: UUID, plan: str | None = "pro") -> PaymentCompleted:
    return PaymentCompleted(**_payment(tenant, plan))


def failed(tenant: UUID) -> PaymentFailed:
    return PaymentFailed(**_payment(tenant, "pro"))


def refunded(tenant: UUID, to: Literal["provider", "credit", "due"]) -> PaymentRefunded:
    return PaymentRefunded(**_payment(tenant, "pro"), refund_id=new_id(), to=to, reason="late")


def due(tenant: UUID, reminder: int) -> InvoiceDue:
    """Nearly midnight in UTC: in Berlin it is the 15th."""
    ends = datetime(2026, 3, 14, 23, 30, tzinfo=UTC)
    return InvoiceDue(
        tenant_id=tenant, invoice_id=new_id(), number="ST-7", gross=123450, currency="EUR", reminder=reminder,
        ends_at=ends, at=AT,
    )  # fmt: skip


def moved(tenant: UUID, previous: str | None = "free") -> SubscriptionChanged:
    return SubscriptionChanged(tenant_id=tenant, plan="pro", previous_plan=previous, plan_version=1, at=AT)


def fallen(tenant: UUID, *, unpaid: bool) -> SubscriptionChanged:
    lower = Lower(storage=104857600, members=1)
    return SubscriptionChanged(
        tenant_id=tenant, plan="free", previous_plan="pro", plan_version=1, at=AT, lower=lower, unpaid=unpaid
    )


def exported(tenant: UUID, by: UUID | None, *, complete: bool = True) -> ExportReady:
    return ExportReady(
        tenant_id=tenant, export_id=new_id(), requested_by=by, size=1610612736, complete=complete, expires_at=AT, at=AT
    )


def not_exported(tenant: UUID, by: UUID | None) -> ExportFailed:
    return ExportFailed(tenant_id=tenant, export_id=new_id(), requested_by=by, error="It broke.", at=AT)


def _payment(tenant: UUID, plan: str | None) -> dict[str, Any]:
    return {
        "tenant_id": tenant, "payment_id": new_id(), "amount": 300, "currency": "EUR", "method": "credit_card",
        "plan": plan, "at": AT,
    }  # fmt: skip


def record(event: Event, seq: int = 1, traceparent: str | None = None) -> Record:
    headers = {"ce_id": str(new_id()).encode(), "ce_time": AT.isoformat().encode(), "ce_type": event.type.encode()}
    return Record(
        topic=event.topic,
        tenant_id=event.tenant_id,
        seq=seq,
        type=event.type,
        body=event.body().encode(),
        headers=headers,
        traceparent=traceparent,
        event=event,
    )
