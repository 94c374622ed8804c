from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel

from services.billing.ads.rules import Reason, Status, View
from services.billing.ads.service import Day


class AdDayOut(BaseModel):
    """Rewarded views of the team's day, which ends at `resets_at`."""

    rewarded_today: int
    daily_limit: int
    resets_at: datetime


class AdViewStartedOut(AdDayOut):
    """`custom_data` goes to the ad network with the ad, where views are verified."""

    ad_view_id: UUID
    started_at: datetime
    complete_before: datetime
    custom_data: str


class AdViewOut(AdDayOut):
    """`credits` is null while the ad network's word is waited for; 0 has a `reason`. `seconds`: the server's clock."""

    ad_view_id: UUID
    status: Status
    started_at: datetime
    completed_at: datetime | None
    seconds: int | None
    credits: int | None
    reason: Reason | None

    @classmethod
    def of(cls, view: View, day: Day) -> Self:
        return cls(
            ad_view_id=view.id,
            status=view.status,
            started_at=view.started_at,
            completed_at=view.completed_at,
            seconds=view.seconds,
            credits=view.credits,
            reason=view.reason,
            rewarded_today=day.rewarded,
            daily_limit=day.limit,
            resets_at=day.resets_at,
        )
