"""Which plan a team is on. Every change of it is an event in the same commit."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.billing.catalogue.loader import Catalogue, Plan
from services.billing.subscriptions.rules import period_end
from shared import outbox
from shared.clock import Clock
from shared.db import Database
from shared.events import Entitlements, EntitlementsChanged, SubscriptionChanged

_SELECT = """
    SELECT plan, plan_version, status, version, entitlements, period_end FROM subscription WHERE tenant_id = $1
"""
_PROVISION = """
    INSERT INTO subscription (tenant_id, plan, plan_version, status, version, entitlements, started_at)
    VALUES ($1, $2, $3, 'active', 1, $4, $5) ON CONFLICT (tenant_id) DO NOTHING RETURNING 1
"""
_CHANGE = """
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


class SubscriptionService:
    def __init__(self, database: Database, catalogue: Catalogue, clock: Clock, wake: Callable[[], object]) -> None:
        self._database = database
        self._catalogue = catalogue
        self._clock = clock
        self._wake = wake

    async def get(self, tenant: UUID) -> Subscription:
        """A team never seen before is on the default plan from now on."""
        async with self._database.transaction(tenant) as connection:
            found = await find(connection, tenant)
            if found is not None:
                return found
            await self.provision(connection, tenant)
            found = await find(connection, tenant)
        self._wake()
        if found is None:
            raise LookupError(f"tenant {tenant} has no subscription")
        return found

    async def provision(self, connection: Any, tenant: UUID) -> None:
        """The default plan, once; a second time, or both ways at once, changes nothing."""
        plan, now = self._catalogue.default, self._clock.now()
        entitlements = plan.entitlements.model_dump(mode="json")
        new = await connection.fetchval(_PROVISION, tenant, plan.code, plan.version, entitlements, now)
        if new:
            await outbox.append(connection, [_entitled(tenant, plan, 1)], at=now)

    async def change(self, connection: Any, tenant: UUID, plan: Plan) -> None:
        """Puts the team on the plan, inside the caller's transaction, with both events."""
        now = self._clock.now()
        await self.provision(connection, tenant)
        before = await find(connection, tenant, lock=True)
        until = period_end(now, plan.price.interval) if plan.price else None
        entitlements = plan.entitlements.model_dump(mode="json")
        version = await connection.fetchval(_CHANGE, tenant, plan.code, plan.version, entitlements, now, until)
        await outbox.append(connection, [_entitled(tenant, plan, version)], at=now)
        changed = SubscriptionChanged(
            tenant_id=tenant,
            plan=plan.code,
            previous_plan=None if before is None else before.plan,
            plan_version=plan.version,
            at=now,
        )
        await outbox.append(connection, [changed], at=now)


async def find(connection: Any, tenant: UUID, *, lock: bool = False) -> Subscription | None:
    row = await connection.fetchrow(_SELECT + (" FOR UPDATE" if lock else ""), tenant)
    if row is None:
        return None
    return Subscription(**{**dict(row), "entitlements": Entitlements.model_validate(row["entitlements"])})


def _entitled(tenant: UUID, plan: Plan, version: int) -> EntitlementsChanged:
    return EntitlementsChanged(
        tenant_id=tenant, version=version, plan=plan.code, plan_version=plan.version, entitlements=plan.entitlements
    )
