"""Teams: made by people, changed by those who manage them."""

from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from services.gateway.accounts import rules
from services.gateway.accounts.repository import AccountRepository
from services.gateway.entitlements.service import PlanLimits
from services.gateway.errors import TenantNotFound, TimezoneUnknown
from services.gateway.tenants import changes
from services.gateway.tenants.models import Tenant
from services.gateway.tenants.repository import TenantRepository
from shared.clock import Clock
from shared.db import Database
from shared.events import TenantUpdated
from shared.ids import new_id
from shared.outbox import Wake


class Tenants:
    def __init__(self, database: Database, limits: PlanLimits, clock: Clock, wake: Wake) -> None:
        self._database = database
        self._limits = limits
        self._clock = clock
        self._wake = wake

    async def get(self, tenant: UUID) -> Any:
        """Columns of the tenant with `members` and `projects`, of one moment. Raises TenantNotFound."""
        async with self._database.transaction(tenant) as connection:
            found = await TenantRepository(connection).find_state(tenant)
        if found is None:
            raise TenantNotFound
        return found

    async def create(self, user: UUID, name: str, timezone: str, locale: str | None) -> Tenant:
        """One more team of the same person, judged by the plan of their first.

        Raises NameInvalid, TimezoneUnknown, PlanLimitReached, EntitlementsUnknown.
        """
        title, zone = rules.normalise_name(name), known_timezone(timezone)
        tenant = Tenant(new_id(), "", title, user, zone, rules.normalise_locale(locale))
        async with self._database.transaction() as connection:
            home = await AccountRepository(connection).find_home(user)
        if home is not None:
            await self._limits.learn(home)
        async with self._database.transaction(home) as connection:
            owned = await AccountRepository(connection).lock_owned(user)
            if home is not None:
                await self._limits.check_room(connection, home, "teams", owned)
            # From here on it is the new tenant that the transaction may see.
            await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(tenant.id))
            tenant = await changes.found(connection, tenant, self._clock.now())
        self._wake.set()
        return tenant

    async def change(
        self, tenant: UUID, by: UUID, *, name: str | None, timezone: str | None, locale: str | None
    ) -> Any:
        """None leaves a field as it is. Raises NameInvalid, TimezoneUnknown, TenantNotFound, NotTheManager."""
        name = None if name is None else rules.normalise_name(name)
        zone = None if timezone is None else known_timezone(timezone)
        locale = None if locale is None else rules.normalise_locale(locale)
        async with self._database.transaction(tenant) as connection:
            await changes.begin(connection, tenant, by)
            if await TenantRepository(connection).update(tenant, name, zone, locale):
                await changes.tell(connection, TenantUpdated, tenant, self._clock.now())
        self._wake.set()
        return await self.get(tenant)


def known_timezone(name: str) -> str:
    """Raises TimezoneUnknown. Months of all that is counted are of it: the others must know it, too."""
    if name not in available_timezones():
        raise TimezoneUnknown
    return ZoneInfo(name).key
