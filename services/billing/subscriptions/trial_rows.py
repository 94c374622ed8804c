"""All SQL on trials. Runs inside the caller's transaction."""

from datetime import datetime
from typing import Any
from uuid import UUID

from services.billing.catalogue.plan import Plan

_INSERT = """
    INSERT INTO subscription_trial (tenant_id, plan, plan_version, started_at, ends_at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING RETURNING 1
"""
_BEGIN = "UPDATE subscription SET status = 'trialing', period_start = $2, period_end = $3 WHERE tenant_id = $1"
_TRIED = "SELECT plan FROM subscription_trial WHERE tenant_id = $1"


async def insert(connection: Any, tenant: UUID, plan: Plan, start: datetime, end: datetime) -> bool:
    """False where the team has tried the plan, in whichever version."""
    return bool(await connection.fetchval(_INSERT, tenant, plan.code, plan.version, start, end))


async def begin(connection: Any, tenant: UUID, start: datetime, end: datetime) -> None:
    """The plan the team was put on without charge is a trial."""
    await connection.execute(_BEGIN, tenant, start, end)


async def list_tried(connection: Any, tenant: UUID) -> set[str]:
    return {row["plan"] for row in await connection.fetch(_TRIED, tenant)}
