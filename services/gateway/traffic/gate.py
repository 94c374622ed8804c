"""Whether a tenant's month has traffic left for a download, as `usage` knows it.

Traffic is counted after it has flowed, so this is a soft limit. What cannot be known passes: a service that does not
answer must not take people's files from them.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from services.gateway.errors import TrafficLimitReached
from services.gateway.tenants.repository import TenantRepository
from shared.db import Database
from shared.errors import UpstreamError
from shared.http import ServiceClient

FRESH = 5.0  # seconds an answer is good for that lets pass, and silence
AGAIN = 0.5  # seconds after which one that refuses is asked for again: more may have been bought
PATIENCE = 1.0  # seconds a download waits for an answer
REMEMBERED = 50_000  # tenants

_UNKNOWN = (UpstreamError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, KeyError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Standing:
    """Bytes of the month; `limit` is without what was `bought`."""

    allowed: bool
    used: int
    limit: int | None
    bought: int
    reset_at: str

    @classmethod
    def read(cls, told: Any) -> "Standing":
        ceiling, bought = told["limit"], int(told["bought"])
        limit = None if ceiling is None else max(0, ceiling - bought)
        return cls(bool(told["allowed"]), int(told["used"]), limit, bought, str(told["reset_at"]))

    @property
    def info(self) -> dict[str, Any]:
        return {"used": self.used, "limit": self.limit, "bought": self.bought, "reset_at": self.reset_at}


class TrafficGate:
    """A tenant is asked about once every few seconds, whatever the number of its downloads."""

    def __init__(self, database: Database, usage: ServiceClient, upgrade_url: str) -> None:
        self._database = database
        self._usage = usage
        self._upgrade_url = upgrade_url
        self._known: dict[UUID, tuple[float, Standing | None]] = {}  # with the time each is good until
        self._asking: dict[UUID, asyncio.Task[Standing | None]] = {}

    async def check(self, tenant: UUID, *, insider: bool) -> None:
        """Raises TrafficLimitReached; only who belongs to the tenant is told its figures."""
        standing = await self._standing(tenant, insider=insider)
        if standing is not None and not standing.allowed:
            raise TrafficLimitReached(standing.info if insider else None, self._upgrade_url)

    async def _standing(self, tenant: UUID, *, insider: bool) -> Standing | None:
        until, standing = self._known.get(tenant, (0.0, None))
        if time.monotonic() < until:
            return standing
        asking = self._asking.get(tenant)
        if asking is None:
            asking = self._asking[tenant] = asyncio.create_task(self._ask(tenant, insider=insider))
            asking.add_done_callback(lambda _: self._asking.pop(tenant, None))
        return await asyncio.shield(asking)  # whoever leaves takes nobody's answer along

    async def _ask(self, tenant: UUID, *, insider: bool) -> Standing | None:
        try:
            # What a stranger makes up must reach nobody: to be asked about is how usage and billing learn of a tenant.
            standing = await self._told(tenant) if insider or await self._exists(tenant) else None
        except _UNKNOWN:
            standing = None
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        good = FRESH if standing is None or standing.allowed else AGAIN
        self._known[tenant] = (time.monotonic() + good, standing)
        return standing

    async def _told(self, tenant: UUID) -> Standing:
        asked, path = {"metric": "traffic", "amount": 1}, f"/internal/usage/{tenant}/check"
        return Standing.read(await self._usage.request_json("POST", path, json=asked, timeout=PATIENCE))

    async def _exists(self, tenant: UUID) -> bool:
        async with self._database.transaction(tenant) as connection:
            return await TenantRepository(connection).exists(tenant)
