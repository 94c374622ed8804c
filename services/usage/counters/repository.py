from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from services.usage.counters.rules import Change, State
from services.usage.counters.snapshot import Snapshot
from services.usage.counters.tally import Amount, Hidden
from services.usage.entitlements.rules import Terms
from services.usage.history.repository import gauge_of
from services.usage.metering.repository import MEASURED
from services.usage.months import timezone_of
from services.usage.thresholds.repository import Standing, ThresholdRepository
from services.usage.thresholds.rules import Scale

_CREATE = """
    INSERT INTO tenant_usage (tenant_id, updated_at, last_reset)
    SELECT t, $2, $2 FROM unnest($1::uuid[]) AS t ORDER BY t
    ON CONFLICT DO NOTHING
"""

# In the order of ids, so that two batches never wait for each other.
_LOCK = """
    SELECT tenant_id, position, bytes, files, entitlements_version, plan, limit_bytes, limits,
           trashed_bytes, trashed_files, version_bytes, version_files,
           measured_at, integral, minute_peak, hour_peak, day_peak, day
    FROM tenant_usage WHERE tenant_id = ANY($1::uuid[]) ORDER BY tenant_id FOR UPDATE
"""


# The sums are taken before the upsert because a check looks at the row offered, and a deletion alone is negative.
# That is safe: rows of a tenant change only under the lock of its tenant_usage row.
_SAVE = """
    WITH breakdown AS (
        INSERT INTO usage_breakdown (tenant_id, file_type, category, file_count, total_size, last_updated)
        SELECT d.tenant_id, d.file_type, d.category,
               coalesce(b.file_count, 0) + d.files, coalesce(b.total_size, 0) + d.bytes, d.at
        FROM unnest($8::uuid[], $9::text[], $10::text[], $11::bigint[], $12::bigint[], $13::timestamptz[])
             AS d(tenant_id, file_type, category, files, bytes, at)
        LEFT JOIN usage_breakdown AS b USING (tenant_id, file_type, category)
        ON CONFLICT (tenant_id, file_type, category) DO UPDATE
        SET file_count = excluded.file_count, total_size = excluded.total_size, last_updated = excluded.last_updated
    )
    UPDATE tenant_usage AS u
    SET position = s.position, bytes = s.bytes, files = s.files,
        entitlements_version = s.version, plan = s.plan, limit_bytes = s.limit_bytes, limits = s.limits,
        updated_at = $14,
        trashed_bytes = s.trashed_bytes, trashed_files = s.trashed_files,
        version_bytes = s.version_bytes, version_files = s.version_files,
        measured_at = s.measured_at, integral = s.integral,
        minute_peak = s.minute_peak, hour_peak = s.hour_peak, day_peak = s.day_peak, day = s.day
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[],
                $15::bigint[], $16::bigint[], $17::bigint[], $18::bigint[],
                $19::timestamptz[], $20::numeric[], $21::bigint[], $22::bigint[], $23::bigint[], $24::date[],
                $25::jsonb[])
         AS s(tenant_id, position, bytes, files, version, plan, limit_bytes,
              trashed_bytes, trashed_files, version_bytes, version_files,
              measured_at, integral, minute_peak, hour_peak, day_peak, day, limits)
    WHERE u.tenant_id = s.tenant_id
"""

# A kind that nothing else is known of was gone past, and comes with a replay.
_HIDE = """
    INSERT INTO usage_breakdown AS b (tenant_id, file_type, category, file_count, total_size, last_updated,
                                      trashed_bytes, trashed_files, version_bytes, version_files)
    SELECT h.tenant_id, h.file_type, h.category, 0, 0, $8, h.trashed_bytes, h.trashed_files, h.version_bytes,
           h.version_files
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
         AS h(tenant_id, file_type, category, trashed_bytes, trashed_files, version_bytes, version_files)
    ON CONFLICT (tenant_id, file_type, category) DO UPDATE
    SET trashed_bytes = b.trashed_bytes + excluded.trashed_bytes,
        trashed_files = b.trashed_files + excluded.trashed_files,
        version_bytes = b.version_bytes + excluded.version_bytes,
        version_files = b.version_files + excluded.version_files
"""

# One statement is one snapshot: the breakdown cannot be of another moment than the total.
_SNAPSHOT = f"""
    SELECT u.tenant_id, u.position, u.bytes, u.files, u.entitlements_version AS version, u.plan,
           u.limit_bytes AS limit, u.trashed_bytes, u.trashed_files, u.version_bytes, u.version_files,
           u.last_reset, u.limits, $2::text AS timezone, statement_timestamp() AS as_of,
           (SELECT coalesce(jsonb_agg(jsonb_build_object('file_type', b.file_type, 'category', b.category,
                       'file_count', b.file_count, 'total_size', b.total_size, 'trashed_bytes', b.trashed_bytes,
                       'trashed_files', b.trashed_files, 'version_bytes', b.version_bytes,
                       'version_files', b.version_files, 'last_updated', b.last_updated)
                   ORDER BY b.total_size DESC, b.file_type, b.category), '[]')
            FROM usage_breakdown AS b
            WHERE b.tenant_id = u.tenant_id
                AND (b.file_count, b.total_size, b.trashed_bytes, b.trashed_files, b.version_bytes, b.version_files)
                    <> (0, 0, 0, 0, 0, 0)) AS breakdown,
           (SELECT coalesce(jsonb_agg(jsonb_build_object('unit', t.unit, 'value', t.value,
                       'armed', t.armed, 'reached', t.reached)), '[]')
            FROM threshold_state AS t WHERE t.tenant_id = u.tenant_id AND t.metric = 'storage') AS arms,
           (SELECT c.items FROM threshold_choice AS c
            WHERE c.tenant_id = u.tenant_id AND c.metric = 'storage') AS chosen,
           (SELECT jsonb_build_object('year', m.year, 'month', m.month, 'bytes_in', coalesce(sum(p.traffic_in), 0),
                       'bytes_out', coalesce(sum(p.traffic_out), 0), 'requests', coalesce(sum(p.requests), 0))
            FROM (SELECT extract(year FROM statement_timestamp() AT TIME ZONE $2)::int AS year,
                         extract(month FROM statement_timestamp() AT TIME ZONE $2)::int AS month) AS m
            LEFT JOIN project_usage AS p ON (p.tenant_id, p.year, p.month) = (u.tenant_id, m.year, m.month)
            GROUP BY m.year, m.month) AS traffic,
           (SELECT coalesce(jsonb_object_agg(f.metric, to_jsonb(f)), '{{}}')
            FROM tenant_figure AS f WHERE f.tenant_id = u.tenant_id) AS figures,
           m.traffic AS used_traffic, m.images AS used_images, m.requests AS used_requests, m.disk AS used_disk,
           m.bought_traffic
    FROM tenant_usage AS u, LATERAL ({MEASURED}) AS m WHERE u.tenant_id = $1
"""

_GAUGE = ("measured_at", "integral", "minute_peak", "hour_peak", "day_peak", "day")


class CounterRepository:
    """All SQL on counters. Runs inside the caller's transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def lock(self, tenants: Iterable[UUID], now: datetime, slack: int) -> dict[UUID, State]:
        """The tenants' usage, locked until the commit; a tenant seen for the first time starts from nothing."""
        wanted = list(tenants)
        rows = await self._connection.fetch(_LOCK, wanted)
        if len(rows) < len(wanted):
            await self._connection.execute(_CREATE, wanted, now)
            rows = await self._connection.fetch(_LOCK, wanted)
        # Read after the lock is held, never in the same statement: its snapshot would be older than the lock.
        fresh: Standing = ({}, Scale(slack=slack))
        standings = await ThresholdRepository(self._connection).load(["storage"], wanted, slack)
        return {row["tenant_id"]: _state(row, standings.get((row["tenant_id"], "storage"), fresh)) for row in rows}

    async def save(self, changes: Sequence[Change], now: datetime) -> None:
        after = [change.after for change in changes]
        deltas = [(change.after.tenant_id, *key, delta) for change in changes for key, delta in change.deltas.items()]
        await self._connection.execute(
            _SAVE,
            [usage.tenant_id for usage in after],
            [usage.position for usage in after],
            [usage.bytes for usage in after],
            [usage.files for usage in after],
            [usage.terms.version for usage in after],
            [usage.terms.plan for usage in after],
            [usage.terms.limit for usage in after],
            [tenant for tenant, _, _, _ in deltas],
            [file_type for _, file_type, _, _ in deltas],
            [category for _, _, category, _ in deltas],
            [delta.files for _, _, _, delta in deltas],
            [delta.bytes for _, _, _, delta in deltas],
            [delta.at for _, _, _, delta in deltas],
            now,
            [usage.trashed.bytes for usage in after],
            [usage.trashed.files for usage in after],
            [usage.versions.bytes for usage in after],
            [usage.versions.files for usage in after],
            *([getattr(usage.gauge, name) for usage in after] for name in _GAUGE),
            [usage.terms.limits for usage in after],
        )

    async def hide(self, changes: Mapping[UUID, Hidden], now: datetime) -> None:
        """By kind. Under the lock of the tenants' counters."""
        rows = Hidden.rows({tenant: hidden.kinds for tenant, hidden in changes.items()})
        if rows:
            await self._connection.execute(_HIDE, *map(list, zip(*rows, strict=True)), now)

    async def find_snapshot(self, tenant: UUID) -> Snapshot | None:
        zone = (await timezone_of(self._connection, [tenant]))[tenant]
        row = await self._connection.fetchrow(_SNAPSHOT, tenant, zone.key)
        return None if row is None else Snapshot.model_validate(dict(row))


def _state(row: Any, standing: Standing) -> State:
    terms = Terms(row["entitlements_version"], row["plan"], row["limit_bytes"], row["limits"])
    trashed = Amount(row["trashed_bytes"], row["trashed_files"])
    versions = Amount(row["version_bytes"], row["version_files"])
    state = State(row["tenant_id"], row["position"], row["bytes"], row["files"], trashed, versions, terms, *standing)
    return replace(state, gauge=gauge_of(row))
