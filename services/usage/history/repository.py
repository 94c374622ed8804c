from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from services.usage.history.buckets import GRAINS, Grain, Retention
from services.usage.history.gauge import Gauge, Reading, Readings
from services.usage.history.rules import Bucket, Flow, expire

_TYPES = {"minute": "timestamptz", "hour": "timestamptz", "day": "date"}

_ADD_READINGS = {
    grain: f"""
        INSERT INTO storage_{grain} (tenant_id, at, bytes, files, peak, integral, measured_at)
        SELECT * FROM unnest($1::uuid[], $2::{kind}[], $3::bigint[], $4::bigint[], $5::bigint[], $6::numeric[],
                             $7::timestamptz[]) ORDER BY 1, 2
        ON CONFLICT DO NOTHING
    """
    for grain, kind in _TYPES.items()
}

_ADD_TRAFFIC = {
    grain: f"""
        INSERT INTO traffic_{grain} AS t (tenant_id, at, bytes_in, bytes_out, requests)
        SELECT * FROM unnest($1::uuid[], $2::{kind}[], $3::bigint[], $4::bigint[], $5::bigint[]) ORDER BY 1, 2
        ON CONFLICT (tenant_id, at) DO UPDATE
        SET bytes_in = t.bytes_in + excluded.bytes_in, bytes_out = t.bytes_out + excluded.bytes_out,
            requests = t.requests + excluded.requests
    """
    for grain, kind in _TYPES.items()
}

# One statement is one snapshot: an hour that ends between two would be missing or there twice. The newest reading
# before the range says what was carried into it.
_READINGS = {
    grain: f"""
        SELECT u.position, u.bytes, u.files, u.measured_at, u.integral, u.minute_peak, u.hour_peak, u.day_peak, u.day,
               r.at, r.bytes AS r_bytes, r.files AS r_files, r.peak, r.integral AS r_integral,
               r.measured_at AS r_measured_at
        FROM tenant_usage AS u LEFT JOIN storage_{grain} AS r ON r.tenant_id = $1 AND r.at < $3::{kind} AND r.at >=
            coalesce((SELECT max(b.at) FROM storage_{grain} AS b WHERE b.tenant_id = $1 AND b.at < $2), $2::{kind})
        WHERE u.tenant_id = $1 ORDER BY r.at
    """
    for grain, kind in _TYPES.items()
}

_TRAFFIC = {
    grain: f"""
        SELECT coalesce(u.position, 0) AS position, t.at, t.bytes_in, t.bytes_out, t.requests
        FROM (SELECT) AS one LEFT JOIN tenant_usage AS u ON u.tenant_id = $1
        LEFT JOIN traffic_{grain} AS t ON t.tenant_id = $1 AND t.at >= $2::{kind} AND t.at < $3::{kind} ORDER BY t.at
    """
    for grain, kind in _TYPES.items()
}


@dataclass(frozen=True, slots=True)
class Stored:
    """One tenant's storage at one moment: what stands, after entry `position`, and the readings asked for."""

    position: int
    bytes: int
    files: int
    gauge: Gauge
    readings: list[Reading]


class HistoryRepository:
    """All SQL on history. Runs inside the caller's transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def add_readings(
        self, finished: Sequence[tuple[UUID, Readings]], retention: Retention, now: datetime
    ) -> None:
        """Under the lock of the tenants' counters. What is older than the retention is left out."""
        for grain in GRAINS:
            horizon = retention.horizon(grain, now)
            rows = [(tenant, *reading) for tenant, read in finished for reading in expire(read.of(grain), horizon)]
            if rows:
                await self._connection.execute(_ADD_READINGS[grain], *map(list, zip(*rows, strict=True)))

    async def add_traffic(self, flows: Mapping[Grain, Mapping[Bucket, Flow]]) -> None:
        """What is added twice is counted twice."""
        for grain in GRAINS:
            rows = [(*bucket, f.bytes_in, f.bytes_out, f.requests) for bucket, f in flows[grain].items()]
            if rows:
                await self._connection.execute(_ADD_TRAFFIC[grain], *map(list, zip(*rows, strict=True)))

    async def find_stored(
        self, tenant: UUID, grain: Grain, since: datetime | date, until: datetime | date
    ) -> Stored | None:
        """Readings of buckets that begin from `since` on and before `until`, and the newest before them."""
        rows = await self._connection.fetch(_READINGS[grain], tenant, since, until)
        if not rows:
            return None
        first = rows[0]
        readings = [_reading(row) for row in rows if row["at"] is not None]
        return Stored(first["position"], first["bytes"], first["files"], gauge_of(first), readings)

    async def list_traffic(
        self, tenant: UUID, grain: Grain, since: datetime | date, until: datetime | date
    ) -> tuple[dict[datetime | date, Flow], int]:
        """By when the bucket begins; and the last ledger entry counted by then."""
        rows = await self._connection.fetch(_TRAFFIC[grain], tenant, since, until)
        flows = {r["at"]: Flow(r["bytes_in"], r["bytes_out"], r["requests"]) for r in rows if r["at"] is not None}
        return flows, rows[0]["position"]


def gauge_of(row: Any) -> Gauge:
    peaks = row["minute_peak"], row["hour_peak"], row["day_peak"]
    return Gauge(row["measured_at"], int(row["integral"]), *peaks, row["day"])


def _reading(row: Any) -> Reading:
    stood = row["r_bytes"], row["r_files"], row["peak"], int(row["r_integral"]), row["r_measured_at"]
    return Reading(row["at"], *stood)
