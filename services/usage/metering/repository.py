from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.usage.metering.rules import NAMES, Metered, Sums
from services.usage.months import Month

# The month that thresholds stand by comes along whether it is asked for or not.
_LOAD = f"""
    SELECT m.tenant_id, m.year, m.month, {", ".join(NAMES)}, m.begun AND (m.year, m.month) = (b.year, b.month) AS stands
    FROM (SELECT DISTINCT ON (tenant_id) tenant_id, year, month FROM tenant_month
          WHERE tenant_id = ANY($1::uuid[]) AND begun ORDER BY tenant_id, year DESC, month DESC) AS b
    FULL JOIN unnest($2::uuid[], $3::int[], $4::int[]) AS w(tenant_id, year, month) USING (tenant_id, year, month)
    JOIN tenant_month AS m USING (tenant_id, year, month)
"""

# A correction may take images off, and a check looks at the row offered: it is offered with what there is already.
# Months of a tenant change only under the lock of its counters.
_SAVE = """
    INSERT INTO tenant_month AS m (tenant_id, year, month, traffic_in, traffic_out, requests, images, traffic_bought,
        begun, updated_at)
    SELECT tenant_id, year, month, s.traffic_in, s.traffic_out, s.requests, coalesce(h.images, 0) + s.images,
        s.traffic_bought, s.begun, $10::timestamptz
    FROM unnest($1::uuid[], $2::int[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
        $9::bool[])
        AS s(tenant_id, year, month, traffic_in, traffic_out, requests, images, traffic_bought, begun)
    LEFT JOIN tenant_month AS h USING (tenant_id, year, month)
    ORDER BY 1, 2, 3
    ON CONFLICT (tenant_id, year, month) DO UPDATE
    SET traffic_in = m.traffic_in + excluded.traffic_in, traffic_out = m.traffic_out + excluded.traffic_out,
        requests = m.requests + excluded.requests, images = excluded.images,
        traffic_bought = m.traffic_bought + excluded.traffic_bought,
        begun = m.begun OR excluded.begun, updated_at = excluded.updated_at
"""

# By the day of the newest run: what that did not find is there no more.
DISK = """
    SELECT coalesce(sum(d.volumes_bytes + d.images_bytes), 0)::bigint FROM disk_usage AS d
    WHERE d.tenant_id = {tenant} AND d.day = (
        SELECT r.day FROM disk_run AS r WHERE r.status = 'done' ORDER BY r.day DESC, r.started_at DESC LIMIT 1)
"""

# What the tenant `u` uses of everything but storage; $2: the time zone its months are of.
MEASURED = f"""
    SELECT coalesce(sum(n.traffic_in + n.traffic_out), 0)::bigint AS traffic,
           coalesce(sum(n.traffic_bought), 0)::bigint AS bought_traffic,
           coalesce(sum(n.images), 0)::bigint AS images, coalesce(sum(n.requests), 0)::bigint AS requests,
           ({DISK.format(tenant="u.tenant_id")}) AS disk
    FROM tenant_month AS n
    WHERE n.tenant_id = u.tenant_id AND n.year = extract(year FROM statement_timestamp() AT TIME ZONE $2)::int
          AND n.month = extract(month FROM statement_timestamp() AT TIME ZONE $2)::int
"""

_DISKS = f"SELECT t.id AS tenant_id, ({DISK.format(tenant='t.id')}) AS used FROM unnest($1::uuid[]) AS t(id)"

_DISKS_LOCK = 0xD15C_5CA1  # any number that is ours

Held = tuple[Month | None, dict[Month, Sums]]


class MonthRepository:
    """All SQL on tenants' months. Runs inside the caller's transaction, under the lock of the tenants' counters."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def load(self, tenants: Sequence[UUID], wanted: Iterable[tuple[UUID, Month]]) -> dict[UUID, Held]:
        """The month that each tenant's thresholds stand by, and the sums of that one and of those that are wanted."""
        keys = sorted(set(wanted))
        rows = await self._connection.fetch(
            _LOAD,
            tenants,
            [tenant for tenant, _ in keys],
            [month.year for _, month in keys],
            [month.month for _, month in keys],
        )
        sums: defaultdict[UUID, dict[Month, Sums]] = defaultdict(dict)
        stands: dict[UUID, Month] = {}
        for row in rows:
            tenant, month = row["tenant_id"], Month(row["year"], row["month"])
            sums[tenant][month] = Sums(*(row[name] for name in NAMES))
            if row["stands"]:
                stands[tenant] = month
        return {tenant: (stands.get(tenant), sums[tenant]) for tenant in tenants}

    async def save(self, metered: Sequence[Metered], now: datetime) -> None:
        rows = [
            (m.tenant_id, *month, *_columns(m.added, month), month in m.begun)
            for m in metered
            for month in dict.fromkeys([*m.added, *m.begun])
        ]
        if rows:
            await self._connection.execute(_SAVE, *map(list, zip(*rows, strict=True)), now)

    async def lock_disks(self) -> None:
        """Until the commit: new figures and new thresholds of disks take turns, so that neither misses the other."""
        await self._connection.execute("SELECT pg_advisory_xact_lock($1)", _DISKS_LOCK)

    async def list_disks(self, tenants: Sequence[UUID]) -> dict[UUID, int]:
        """Bytes by the newest collection."""
        rows = await self._connection.fetch(_DISKS, tenants)
        return {row["tenant_id"]: row["used"] for row in rows}


def _columns(added: Mapping[Month, Sums], month: Month) -> tuple[int, ...]:
    sums = added.get(month, Sums())
    return tuple(getattr(sums, name) for name in NAMES)
