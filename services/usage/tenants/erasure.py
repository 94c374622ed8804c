"""Forgetting tenants that are gone (S4.14): when they go, and once a day what their last events have brought since."""

import logging
from typing import Any
from uuid import UUID

from services.usage.tenants.repository import TenantRepository
from shared.db import Database

log = logging.getLogger(__name__)

# What speaks of people, projects or habits. Tables that refer to others come first.
ERASED = (
    "alert",
    "threshold_state",
    "threshold_choice",
    "user_usage",
    "project_usage",
    "project_storage",
    "tenant_month",
    "tenant_figure",
    "disk_usage",
    "cleanup_day",
    "storage_management",
    "storage_minute",
    "storage_hour",
    "storage_day",
    "traffic_minute",
    "traffic_hour",
    "traffic_day",
    "fold_checkpoint",
    "counter_adjustment",
)

# Numbers that nobody can read a person from: files of an erased tenant are still being deleted, and a proof needs the
# position and the sums at it; events go on counting where they were. The tenant's own row keeps its id, and no name.
KEPT = (
    "tenant_usage",
    "usage_breakdown",
    "tenant",
    "isolation_grant",
    "consumer_position",
    "outbox_head",
    "outbox_event",
    "dead_letter",
)


class Eraser:
    """Runs with the worker's role."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self) -> int:
        """Every tenant that is gone and of which something is left; returns how many those were."""
        async with self._database.transaction() as connection:
            left = await TenantRepository(connection).list_unforgotten(ERASED)
        for tenant in left:
            async with self._database.transaction() as connection:
                await forget(connection, tenant)
        if left:
            log.info("erasure: %d tenants were forgotten", len(left))
        return len(left)


async def forget(connection: Any, tenant: UUID) -> None:
    await TenantRepository(connection).forget(tenant, ERASED)
