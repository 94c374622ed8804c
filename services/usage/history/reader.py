from collections.abc import Callable
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

from services.usage.history.buckets import Retention, grain_of
from services.usage.history.ranges import Asked, Range, plan
from services.usage.history.repository import HistoryRepository
from services.usage.history.rules import Flow, Level, levels, open_reading, pour, whole
from services.usage.history.schemas import (
    UNITS,
    HistoryOut,
    LevelOut,
    LevelPointOut,
    Metric,
    PointOut,
    TotalOut,
    level_total,
)
from services.usage.months import timezone_of
from shared.clock import Clock
from shared.db import Database

_FLOWS: dict[str, Callable[[Flow], int]] = {
    "traffic_in": attrgetter("bytes_in"),
    "traffic_out": attrgetter("bytes_out"),
    "traffic": lambda flow: flow.bytes_in + flow.bytes_out,
    "requests": attrgetter("requests"),
}


class HistoryReader:
    """What was stored and moved, bucket by bucket, from what was kept when it happened."""

    def __init__(self, database: Database, retention: Retention, clock: Clock) -> None:
        self._database = database
        self._retention = retention
        self._clock = clock

    async def read(self, tenant: UUID, metric: Metric, asked: Asked) -> HistoryOut:
        """Raises NotYet, RangeEmpty, RangeTooLong, HistoryNotKept."""
        async with self._database.transaction(tenant) as connection:
            zone = (await timezone_of(connection, [tenant]))[tenant]
            now = self._clock.now()
            span = plan(asked, self._retention, now, zone)
            if metric in _FLOWS:
                items, total, position = await _flows(connection, tenant, _FLOWS[metric], span)
                return _answer(metric, span, zone.key, now, position, items, total)
            found, position, as_of = await _levels(connection, tenant, span, now)
        if metric == "files":
            counts = [PointOut(at=span.local(level.at), value=level.files) for level in found]
            return _answer(metric, span, zone.key, as_of, position, counts, TotalOut(value=found[-1].files))
        points = [LevelPointOut.of(level, span.local(level.at)) for level in found]
        return _answer(metric, span, zone.key, as_of, position, points, level_total(whole(found)))


async def _levels(connection: Any, tenant: UUID, span: Range, now: datetime) -> tuple[list[Level], int, datetime]:
    """With the ledger position and the moment they are of."""
    grain = grain_of(span.granularity)
    stored = await HistoryRepository(connection).find_stored(tenant, grain, *span.keys)
    if stored is None:
        return levels([], span.edges, now, span.zone), 0, now
    newest = open_reading(stored.gauge, grain, stored.bytes, stored.files)
    readings = stored.readings if newest is None else [*stored.readings, newest]
    # The clock of who stores may be ahead of ours.
    as_of = max(now, stored.gauge.measured_at or now)
    return levels(readings, span.edges, as_of, span.zone), stored.position, as_of


async def _flows(
    connection: Any, tenant: UUID, value_of: Callable[[Flow], int], span: Range
) -> tuple[list[PointOut], TotalOut, int]:
    held, position = await HistoryRepository(connection).list_traffic(tenant, grain_of(span.granularity), *span.keys)
    values = [value_of(flow) for flow in pour(held, span.edges, span.zone)]
    points = [PointOut(at=span.local(at), value=value) for at, value in zip(span.edges, values, strict=False)]
    return points, TotalOut(value=sum(values)), position


def _answer(
    metric: Metric,
    span: Range,
    timezone: str,
    as_of: datetime,
    position: int,
    items: list[LevelPointOut] | list[PointOut],
    total: LevelOut | TotalOut,
) -> HistoryOut:
    return HistoryOut(
        metric=metric,
        unit=UNITS.get(metric, "bytes"),
        granularity=span.granularity,
        timezone=timezone,
        since=span.local(span.edges[0]),
        until=span.local(span.edges[-1]),
        as_of=as_of,
        position=position,
        items=items,
        total=total,
    )
