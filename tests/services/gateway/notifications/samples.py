"""Events of other services, as the consumer hands them on."""

from datetime import UTC, date, datetime
from uuid import UUID

from shared.events import Event, Metric, PaymentCompleted, SubscriptionChanged, ThresholdCleared, ThresholdCrossed
from shared.ids import new_id
from shared.kafka import Record

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


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


def paid(tenant: UUID) -> PaymentCompleted:
    return PaymentCompleted(
        tenant_id=tenant, payment_id=new_id(), amount=300, currency="EUR", method="credit_card", plan="pro", at=AT
    )


def moved(tenant: UUID, previous: str | None = "free") -> SubscriptionChanged:
    return SubscriptionChanged(tenant_id=tenant, plan="pro", previous_plan=previous, plan_version=1, at=AT)


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
