"""All SQL on subscriptions. Runs inside the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.billing.catalogue.loader import Plan
from shared.events import Entitlements

_SELECT = """
    SELECT plan, plan_version, status, version, entitlements, period_end FROM subscription WHERE tenant_id = $1
"""
_INSERT = """
    INSERT INTO subscription (tenant_id, plan, plan_version, status, version, entitlements, started_at)
    VALUES ($1, $2, $3, 'active', 1, $4, $5) ON CONFLICT (tenant_id) DO NOTHING RETURNING 1
"""
_UPDATE = """
    UPDATE subscription SET plan = $2, plan_version = $3, status = 'active', version = version + 1,
        entitlements = $4, started_at = $5, period_end = $6
    WHERE tenant_id = $1 RETURNING version
"""


@dataclass(frozen=True, slots=True)
class Subscription:
    """`version` rises with every change and is the version of the entitlements."""

    plan: str
    plan_version: int
    status: str
    version: int
    entitlements: Entitlements
    period_end: datetime | None


async def find(connection: Any, tenant: UUID) -> Subscription | None:
    row = await connection.fetchrow(_SELECT, tenant)
    return None if row is None else _read(row)


async def lock(connection: Any, tenant: UUID) -> Subscription:
    """The row is the caller's until the commit. It must exist."""
    return _read(await connection.fetchrow(_SELECT + " FOR UPDATE", tenant))


async def insert(connection: Any, tenant: UUID, plan: Plan, at: datetime) -> bool:
    """False when the team has one."""
    entitlements = plan.entitlements.model_dump(mode="json")
    return bool(await connection.fetchval(_INSERT, tenant, plan.code, plan.version, entitlements, at))


async def update(connection: Any, tenant: UUID, plan: Plan, at: datetime, period_end: datetime | None) -> int:
    """Returns the new version."""
    entitlements = plan.entitlements.model_dump(mode="json")
    version: int = await connection.fetchval(_UPDATE, tenant, plan.code, plan.version, entitlements, at, period_end)
    return version


def _read(row: Any) -> Subscription:
    return Subscription(**{**dict(row), "entitlements": Entitlements.model_validate(row["entitlements"])})
