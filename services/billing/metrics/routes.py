"""For administrators of the platform: how the business goes."""

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field

from services.billing.credits.errors import PeriodInvalid
from services.billing.dependencies import Services
from services.billing.metrics.rules import MethodPayments
from services.billing.metrics.service import Metrics
from shared.events import PaymentMethod
from shared.http import AdminOnly

router = APIRouter(prefix="/api/admin/billing", tags=["admin"])


class ConversionOut(BaseModel):
    """Of `candidates`, who were there and had never paid before the period, `converted` paid for the first time."""

    candidates: int
    converted: int
    percentage: float | None


class MethodPaymentsOut(BaseModel):
    """Payments begun in the period, by what became of them; `success_percentage` of those that are decided."""

    method: PaymentMethod
    completed: int
    failed: int
    cancelled: int
    open: int
    success_percentage: float | None

    @classmethod
    def of(cls, found: MethodPayments) -> Self:
        return cls(
            method=found.method,
            completed=found.completed,
            failed=found.failed,
            cancelled=found.cancelled,
            open=found.open,
            success_percentage=found.success.percentage,
        )


class RecurringOut(BaseModel):
    """Of `teams` that pay in that currency, by the month: decimal text, and the same in minor units."""

    currency: str
    teams: int
    amount: str
    minor_units: int


class ChurnOut(BaseModel):
    """Of `paying` teams at the period's beginning, `lost` pay no more at its end."""

    paying: int
    lost: int
    percentage: float | None


class BillingMetricsOut(BaseModel):
    """From `from` on and before `to`. `recurring`, and who is lost, at `as_of`: `to`, or now where that is later.
    Percentages have two decimals and are null of nothing.
    """

    since: datetime = Field(serialization_alias="from")
    to: datetime
    as_of: datetime
    conversion: ConversionOut
    payments: list[MethodPaymentsOut]
    preferred_method: PaymentMethod | None
    recurring: list[RecurringOut]
    churn: ChurnOut

    @classmethod
    def of(cls, found: Metrics) -> Self:
        converted, lost = found.conversion, found.churn
        return cls(
            since=found.since,
            to=found.to,
            as_of=found.as_of,
            conversion=ConversionOut(
                candidates=converted.whole, converted=converted.part, percentage=converted.percentage
            ),
            payments=[MethodPaymentsOut.of(one) for one in found.payments],
            preferred_method=found.preferred,
            recurring=[
                RecurringOut(currency=money.currency, teams=teams, amount=money.text, minor_units=money.amount)
                for money, teams in found.recurring
            ],
            churn=ChurnOut(paying=lost.whole, lost=lost.part, percentage=lost.percentage),
        )


@router.get("/metrics")
async def get_billing_metrics(
    _who: AdminOnly,
    services: Services,
    since: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    to: AwareDatetime | None = None,
) -> BillingMetricsOut:
    """Over all teams: conversion, payments by method, what comes in a month, churn. Unless told otherwise the 30 days
    before `to`, and `to` is now.
    """
    found = await services.metrics.get(since, to)
    if not found.since < found.to:
        raise PeriodInvalid
    return BillingMetricsOut.of(found)
