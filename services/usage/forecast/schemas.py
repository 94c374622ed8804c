from datetime import date, datetime
from typing import Self

from pydantic import BaseModel

from services.usage.forecast.rules import Filling, Forecast, Status


class ForecastOut(BaseModel):
    """Bytes. `status`: `will_fill` on `day`, by the trend's interval between `earliest` and `latest` (null: perhaps
    never); `will_last`, of traffic, until `reset_at`, though `earliest` says when it might not; `not_growing`; `full`
    already; `unlimited`; `not_enough_data`: 7 whole days are needed for storage, for traffic 3 of the month
    since there has been any.
    """

    status: Status
    used: int
    limit: int | None
    per_day: int | None
    day: date | None
    earliest: date | None
    latest: date | None
    reset_at: datetime | None

    @classmethod
    def of(cls, filling: Filling, found: Forecast, reset_at: datetime | None) -> Self:
        return cls(
            status=found.status,
            used=filling.used,
            limit=filling.limit,
            per_day=None if found.per_day is None else round(found.per_day),
            day=found.day,
            earliest=found.earliest,
            latest=found.latest,
            reset_at=reset_at,
        )


class ForecastsOut(BaseModel):
    """All of one moment; days and the month are those of `timezone`. `position` is the last ledger entry counted."""

    timezone: str
    as_of: datetime
    position: int
    storage: ForecastOut
    traffic: ForecastOut
