"""Puts each tenant's storage management where it belongs: at sign-up, when its isolation is chosen, at its end.

Not in the consumer's transaction: a batch of thousands of new tenants would hold more locks than PostgreSQL has.
"""

import logging
from uuid import UUID

import asyncpg
from prometheus_client import Counter

from services.usage.schemas.repository import SchemaRepository, Unsettled
from services.usage.tenants.erasure import forget
from shared import faults
from shared.db import Database
from shared.outbox import Listener

log = logging.getLogger(__name__)

PROVISIONED = Counter("stowage_usage_provisioned_total", "Tenants provisioned, moved or removed", ["place", "outcome"])

CHANNEL = "tenant"
POLL = 5.0  # seconds between two looks when no notice comes
TROUBLE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


class Provisioner:
    """Runs with the worker's role, in as many workers as there are: one transaction a tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self) -> None:
        """For ever."""
        async with Listener(self._database.dsn, CHANNEL) as listener:
            while True:
                await self.settle()
                await listener.wait(POLL)

    async def settle(self) -> int:
        """All tenants that are not where they belong; returns how many are by now."""
        settled, last = 0, UUID(int=0)
        while True:
            found: Unsettled | None = None
            try:
                async with self._database.transaction() as connection:
                    schemas = SchemaRepository(connection)
                    found = await schemas.lock_next(last)
                    if found is None:
                        return settled
                    await _move(schemas, found)
                    if found.wanted is None:
                        await forget(connection, found.tenant_id)
                    faults.reach("usage.provision")
            except TROUBLE as error:
                log.error("provisioning: %s: %r", found or "the next tenant", error)
                if found is None:
                    return settled
                PROVISIONED.labels(found.wanted or "none", "failed").inc()
            else:
                settled += 1
                PROVISIONED.labels(found.wanted or "none", "done").inc()
            last = found.tenant_id  # one that fails holds up no other, and has its turn again


async def _move(schemas: SchemaRepository, tenant: Unsettled) -> None:
    match tenant.wanted:
        case "schema":
            await schemas.provision_schema(tenant.tenant_id)
        case "shared":
            await schemas.provision_shared(tenant.tenant_id)
        case None:
            await schemas.remove(tenant.tenant_id)
