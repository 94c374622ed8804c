from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal, Self
from uuid import UUID

from pydantic import BaseModel

from services.usage.counters.rules import percentage, share
from services.usage.counters.snapshot import MonthTraffic, Part, Snapshot
from services.usage.limits.schemas import LimitOut, metered
from services.usage.months import Month
from services.usage.thresholds.rules import Level, Threshold
from shared.events import Channel
from shared.sizes import format_bytes


class StorageOut(BaseModel):
    """Bytes; `limit`, `available` and `percentage` are null when the plan is unlimited.

    What lies in the trash and in older versions is part of `used` and `files`.
    """

    used: int
    limit: int | None
    available: int | None
    percentage: float | None
    files: int
    trashed_bytes: int
    trashed_files: int
    version_bytes: int
    version_files: int
    used_formatted: str
    limit_formatted: str | None


class PartOut(BaseModel):
    """`percentage` of all that is stored. What lies in the trash and in older versions is part of `file_count` and
    `total_size`.
    """

    file_type: str
    category: str
    file_count: int
    total_size: int
    trashed_bytes: int
    trashed_files: int
    version_bytes: int
    version_files: int
    percentage: float
    last_updated: datetime

    @classmethod
    def of(cls, part: Part, total: int) -> Self:
        return cls(**part.model_dump(), percentage=share(part.total_size, total))


class TrafficOut(BaseModel):
    """Of the month that runs: `bytes` is both directions together."""

    month: str
    bytes_in: int
    bytes_out: int
    bytes: int
    requests: int

    @classmethod
    def of(cls, traffic: MonthTraffic) -> Self:
        return cls(
            month=str(Month(traffic.year, traffic.month)),
            bytes_in=traffic.bytes_in,
            bytes_out=traffic.bytes_out,
            bytes=traffic.bytes_in + traffic.bytes_out,
            requests=traffic.requests,
        )


class ThresholdOut(BaseModel):
    """`percent` of the limit or an `amount` of the metric's unit. `hard`: `POST /api/usage/check` allows nothing that
    would pass it. `channels`: who is told, a note on the pages and a mail.
    """

    percent: int | None
    amount: int | None
    hard: bool
    channels: list[Channel]
    state: Literal["armed", "reached"]


class SummaryOut(BaseModel):
    """All of one moment: `position` is the last ledger entry counted, and the breakdown sums to `storage`."""

    tenant_id: UUID
    plan: str | None
    tier: str | None
    version: int
    position: int
    as_of: datetime
    last_reset: datetime
    storage: StorageOut
    breakdown: list[PartOut]
    thresholds: list[ThresholdOut]
    traffic: TrafficOut
    metrics: list[LimitOut]

    @classmethod
    def of(cls, usage: Snapshot) -> Self:
        return cls(
            tenant_id=usage.tenant_id,
            plan=usage.plan,
            tier=usage.plan,
            version=usage.version,
            position=usage.position,
            as_of=usage.as_of,
            last_reset=usage.last_reset,
            storage=_storage(usage),
            breakdown=[PartOut.of(part, usage.bytes) for part in usage.breakdown],
            thresholds=standings(usage.thresholds, usage.reached),
            traffic=TrafficOut.of(usage.traffic),
            metrics=metered(usage),
        )


def standings(thresholds: Sequence[Threshold], reached: Collection[Level]) -> list[ThresholdOut]:
    return [
        ThresholdOut(
            percent=t.level.percent,
            amount=t.level.amount,
            hard=t.hard,
            channels=list(t.channels),
            state="reached" if t.level in reached else "armed",
        )
        for t in thresholds
    ]


def _storage(usage: Snapshot) -> StorageOut:
    return StorageOut(
        used=usage.bytes,
        limit=usage.limit,
        available=None if usage.limit is None else max(0, usage.limit - usage.bytes),
        percentage=percentage(usage.bytes, usage.limit),
        files=usage.files,
        trashed_bytes=usage.trashed_bytes,
        trashed_files=usage.trashed_files,
        version_bytes=usage.version_bytes,
        version_files=usage.version_files,
        used_formatted=format_bytes(usage.bytes),
        limit_formatted=None if usage.limit is None else format_bytes(usage.limit),
    )
