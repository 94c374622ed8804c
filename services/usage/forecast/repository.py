from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

# One statement is one snapshot. Readings of days: those of the window, and the newest before it.
_FIND = """
    SELECT u.position, u.bytes, u.limit_bytes, u.entitlements_version > 0 AS known, u.day, u.measured_at,
           (u.limits ->> 'traffic_bytes_month')::bigint AS traffic_limit,
           (SELECT coalesce(jsonb_object_agg(s.at, s.bytes), '{}') FROM storage_day AS s
            WHERE s.tenant_id = $1 AND s.at >=
                coalesce((SELECT max(b.at) FROM storage_day AS b WHERE b.tenant_id = $1 AND b.at < $2), $2)) AS stored,
           (SELECT coalesce(jsonb_object_agg(t.at, t.bytes_in + t.bytes_out), '{}') FROM traffic_day AS t
            WHERE t.tenant_id = $1 AND t.at >= $3 AND t.at < $4) AS moved,
           (SELECT min(t.at) FROM traffic_day AS t WHERE t.tenant_id = $1) AS first_moved
    FROM tenant_usage AS u WHERE u.tenant_id = $1
"""


@dataclass(frozen=True, slots=True)
class Days:
    """Of one tenant at one moment, in bytes: `stored` at the end of days with changes, `moved` on days of a month.
    `first_moved`: the first day that had any traffic, as far back as days are kept.
    """

    position: int
    known: bool
    used: int
    limit: int | None
    traffic_limit: int | None
    measured_at: datetime | None
    stored: dict[date, int]
    moved: dict[date, int]
    first_moved: date | None


async def find_days(connection: Any, tenant: UUID, window: date, month: date, reset: date) -> Days | None:
    row = await connection.fetchrow(_FIND, tenant, window, month, reset)
    if row is None:
        return None
    stored, moved = _by_day(row["stored"]), _by_day(row["moved"])
    if row["day"] is not None:
        stored[row["day"]] = row["bytes"]  # the day that is open has no reading yet
    return Days(
        row["position"],
        row["known"],
        row["bytes"],
        row["limit_bytes"],
        row["traffic_limit"],
        row["measured_at"],
        stored,
        moved,
        row["first_moved"],
    )


def _by_day(found: dict[str, int]) -> dict[date, int]:
    return {date.fromisoformat(day): size for day, size in found.items()}
