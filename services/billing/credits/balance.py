"""What a tenant has now, and had in a period. One statement each, so one moment."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.billing.credits.service import CreditService
from shared.clock import Clock
from shared.db import Database

_NOW = """
    SELECT coalesce(a.available, 0) AS balance, coalesce(a.reserved, 0) AS reserved,
        coalesce(a.spent, 0) AS spent, coalesce(a.expired, 0) AS expired, coalesce(a.seq, 0) AS position,
        coalesce((
            SELECT jsonb_agg(to_jsonb(g) ORDER BY g.priority, g.expires_at, g.created_at, g.id) FROM (
                SELECT id, source, amount, remaining, priority, expires_at, description, created_at
                FROM credit_grant AS g WHERE g.tenant_id = $1 AND NOT g.exhausted
                ORDER BY g.priority, g.expires_at, g.created_at, g.id LIMIT 500
            ) AS g
        ), '[]') AS grants,
        EXISTS (SELECT FROM credit_grant AS g WHERE g.tenant_id = $1 AND NOT g.exhausted AND g.expires_at <= $2)
            OR EXISTS (
                SELECT FROM credit_reservation AS r
                WHERE r.tenant_id = $1 AND r.status = 'open' AND r.expires_at <= $2
            ) AS due
    FROM (SELECT $1::uuid AS tenant_id) AS asked LEFT JOIN credit_account AS a USING (tenant_id)
"""
# Waits for the batch under way: what is committed later is later than every time asked for.
_LOCK = "SELECT FROM credit_account WHERE tenant_id = $1 FOR SHARE"
_PERIOD = """
    WITH bounds AS MATERIALIZED (
        SELECT first.seq AS first, coalesce(first.available_after, 0) AS opening,
            coalesce(first.reserved_after, 0) AS opening_reserved, coalesce(last.seq, 0) AS last,
            coalesce(last.available_after, 0) AS closing, coalesce(last.reserved_after, 0) AS closing_reserved
        FROM (SELECT) AS one
        LEFT JOIN LATERAL (
            SELECT seq, available_after, reserved_after FROM credit_transaction
            WHERE tenant_id = $1 AND at < $2 ORDER BY at DESC, seq DESC LIMIT 1
        ) AS first ON true
        LEFT JOIN LATERAL (
            SELECT seq, available_after, reserved_after FROM credit_transaction
            WHERE tenant_id = $1 AND at < $3 ORDER BY at DESC, seq DESC LIMIT 1
        ) AS last ON true
    )
    SELECT b.opening, b.opening_reserved, b.closing, b.closing_reserved, b.last AS position,
        coalesce(b.last - coalesce(b.first, 0), 0) AS transactions, sums.*
    FROM bounds AS b CROSS JOIN LATERAL (
        SELECT coalesce(-sum(amount) FILTER (WHERE account = 'purchase'), 0)::bigint AS purchase,
            coalesce(-sum(amount) FILTER (WHERE account = 'ad_reward'), 0)::bigint AS ad_reward,
            coalesce(-sum(amount) FILTER (WHERE account = 'system_bonus'), 0)::bigint AS system_bonus,
            coalesce(-sum(amount) FILTER (WHERE account = 'refund'), 0)::bigint AS refund,
            coalesce(sum(amount) FILTER (WHERE account = 'spent'), 0)::bigint AS spent,
            coalesce(sum(amount) FILTER (WHERE account = 'expired'), 0)::bigint AS expired,
            coalesce(sum(amount) FILTER (WHERE account = 'reserved'), 0)::bigint AS reserved,
            coalesce(sum(amount) FILTER (WHERE account = 'available'), 0)::bigint AS available
        FROM credit_posting WHERE tenant_id = $1 AND seq > coalesce(b.first, 0) AND seq <= b.last
    ) AS sums
"""


@dataclass(frozen=True, slots=True)
class Balance:
    """`balance` can be spent at `as_of`; `position` is the newest transaction in it."""

    balance: int
    reserved: int
    spent: int
    expired: int
    grants: list[dict[str, Any]]
    position: int
    as_of: datetime


@dataclass(frozen=True, slots=True)
class Statement:
    """From `since` on and before `to`: opening + granted - spent - expired - reserved = closing."""

    since: datetime
    to: datetime
    opening: int
    closing: int
    opening_reserved: int
    closing_reserved: int
    granted: dict[str, int]  # by source
    spent: int
    expired: int
    reserved: int
    transactions: int
    position: int
    as_of: datetime


class CreditBalance:
    def __init__(self, database: Database, service: CreditService, clock: Clock) -> None:
        self._database = database
        self._service = service
        self._clock = clock

    async def now(self, tenant: UUID) -> Balance:
        """What is over but not yet closed is closed first: what is shown can be spent."""
        row = await self._look(tenant)
        if row["due"]:
            await self._service.sweep(tenant)
            row = await self._look(tenant)
        told = {name: row[name] for name in ("balance", "reserved", "spent", "expired", "grants", "position", "as_of")}
        return Balance(**told)

    async def statement(self, tenant: UUID, since: datetime, to: datetime) -> Statement:
        """A period that is not over ends now."""
        async with self._database.transaction(tenant) as connection:
            await connection.execute(_LOCK, tenant)
            as_of = self._clock.now()
            row = dict(await connection.fetchrow(_PERIOD, tenant, since, min(to, as_of)))
        granted = {source: row.pop(source) for source in ("purchase", "ad_reward", "system_bonus", "refund")}
        row.pop("available")
        return Statement(since=since, to=to, granted=granted, as_of=as_of, **row)

    async def _look(self, tenant: UUID) -> dict[str, Any]:
        as_of = self._clock.now()
        async with self._database.transaction(tenant) as connection:
            return {**await connection.fetchrow(_NOW, tenant, as_of), "as_of": as_of}
