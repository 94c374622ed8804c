from collections.abc import Sequence
from datetime import date, datetime
from typing import Self

from pydantic import BaseModel

from services.usage.trends.rules import Course, Total


class CourseOut(BaseModel):
    """Bytes, of all tenants and of one on average; `trend`: percent in 30 days, null before there are 7 days."""

    total: int
    average: int
    trend: float | None

    @classmethod
    def of(cls, course: Course) -> Self:
        return cls(total=course.total, average=course.average, trend=course.trend)


class DayOut(BaseModel):
    day: date
    tenants: int
    stored_bytes: int
    traffic_bytes: int


class TrendsOut(BaseModel):
    """Of the last 90 days at most, oldest first, up to the last one that is over everywhere. `storage` is what is
    stored at its end, `traffic` what is moved in 30 days. Without days nothing was added up yet.
    """

    as_of: datetime
    tenants: int
    storage: CourseOut | None
    traffic: CourseOut | None
    days: list[DayOut]

    @classmethod
    def of(cls, days: Sequence[Total], storage: Course | None, traffic: Course | None, as_of: datetime) -> Self:
        return cls(
            as_of=as_of,
            tenants=days[-1].tenants if days else 0,
            storage=None if storage is None else CourseOut.of(storage),
            traffic=None if traffic is None else CourseOut.of(traffic),
            days=[DayOut(day=d.day, tenants=d.tenants, stored_bytes=d.stored, traffic_bytes=d.moved) for d in days],
        )
