from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from services.usage.history.buckets import Granularity
from services.usage.history.rules import Level

Metric = Literal["storage", "files", "traffic_in", "traffic_out", "traffic", "requests"]
Unit = Literal["bytes", "files", "requests"]
ByteSeconds = Annotated[str, Field(pattern=r"^\d+(\.\d{1,6})?$")]

UNITS: dict[Metric, Unit] = {"files": "files", "requests": "requests"}


class PointOut(BaseModel):
    """`value` is what was moved in the bucket that begins at `at`; of `files`, how many there were at its end."""

    at: datetime
    value: int


class LevelOut(BaseModel):
    """Of `storage`: `value` at the end, `peak` at any moment (what was carried in is one), `average` over time, all in
    bytes; `byte_seconds` is exact, to the microsecond.
    """

    value: int
    peak: int
    average: int
    byte_seconds: ByteSeconds


class LevelPointOut(LevelOut):
    at: datetime

    @classmethod
    def of(cls, level: Level, at: datetime) -> Self:
        return cls(at=at, **level_total(level).model_dump())


class TotalOut(BaseModel):
    """Of the whole range: the sum; of `files`, how many there were at its end."""

    value: int


class HistoryOut(BaseModel):
    """Buckets without gaps. `from` and `to` are where buckets begin and end: those asked for, or further out. What has
    not come yet is not in the figures, which are of `as_of`; `position` is the last ledger entry counted. Minutes and
    hours are those of UTC, days and months those of `timezone`.
    """

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    metric: Metric
    unit: Unit
    granularity: Granularity
    timezone: str
    since: datetime = Field(alias="from")
    until: datetime = Field(alias="to")
    as_of: datetime
    position: int
    items: list[LevelPointOut] | list[PointOut]
    total: LevelOut | TotalOut


def level_total(level: Level) -> LevelOut:
    seconds, rest = divmod(level.area, 1_000_000)
    exact = f"{seconds}.{rest:06d}".rstrip("0").rstrip(".")
    return LevelOut(value=level.bytes, peak=level.peak, average=level.average, byte_seconds=exact)
