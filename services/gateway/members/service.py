"""Who belongs to a tenant. Each change and its event are one commit, and the plan's limit holds in it."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from services.gateway.accounts.repository import AccountRepository
from services.gateway.accounts.rules import normalise_email
from services.gateway.entitlements.service import PlanLimits
from services.gateway.errors import MemberExists, MemberNotFound, OwnerStays, PersonNotFound
from services.gateway.members.repository import Member, MemberRepository
from services.gateway.tenants import changes
from services.gateway.tenants.models import Role
from services.gateway.tenants.repository import TenantRepository
from shared.clock import Clock
from shared.db import Database
from shared.events import MemberAdded, MemberChanged, MemberRemoved
from shared.http import PageRequest, encode_cursor
from shared.http.paging import read_position
from shared.outbox import Wake


class Members:
    """`changed` is told after the commit whose memberships are others now."""

    def __init__(
        self, database: Database, limits: PlanLimits, clock: Clock, wake: Wake, changed: Callable[[UUID], object]
    ) -> None:
        self._database = database
        self._limits = limits
        self._clock = clock
        self._wake = wake
        self._changed = changed

    async def list_page(self, tenant: UUID, page: PageRequest) -> tuple[list[Member], str | None]:
        """Oldest first, and the cursor of what follows."""
        after = read_position(page.cursor)
        async with self._database.transaction(tenant) as connection:
            found = await MemberRepository(connection).list_page(tenant, after, page.limit + 1)
        shown = found[: page.limit]
        return shown, encode_cursor(shown[-1].added_at, shown[-1].user_id) if len(found) > page.limit else None

    async def add(self, tenant: UUID, by: UUID, email: str, role: Role) -> Member:
        """Somebody who has an account.

        Raises EmailInvalid, PersonNotFound, MemberExists, PlanLimitReached, EntitlementsUnknown, NotTheManager,
        TenantNotFound.
        """
        address = normalise_email(email)
        await self._limits.learn(tenant)
        async with self._database.transaction(tenant) as connection:
            await changes.begin(connection, tenant, by)
            members, now = MemberRepository(connection), self._clock.now()
            person = await AccountRepository(connection).find_id(address)
            if person is None:
                raise PersonNotFound
            if await members.find(tenant, person) is not None:
                raise MemberExists
            await self._limits.check_room(connection, tenant, "members", await members.count(tenant))
            await TenantRepository(connection).insert_member(tenant, person, role, now)
            await changes.tell(connection, MemberAdded, tenant, now, user_id=person, role=role)
            added = await self._get(connection, tenant, person)
        self._announce(person)
        return added

    async def change_role(self, tenant: UUID, by: UUID, user: UUID, role: Role) -> Member:
        """Raises MemberNotFound, OwnerStays, NotTheManager, TenantNotFound."""
        async with self._database.transaction(tenant) as connection:
            await changes.begin(connection, tenant, by)
            member = await self._get(connection, tenant, user)
            if member.role == "owner":
                raise OwnerStays
            if member.role != role:
                await MemberRepository(connection).change_role(tenant, user, role)
                await changes.tell(connection, MemberChanged, tenant, self._clock.now(), user_id=user, role=role)
            member = await self._get(connection, tenant, user)
        self._announce(user)
        return member

    async def remove(self, tenant: UUID, by: UUID, user: UUID) -> None:
        """Raises MemberNotFound, OwnerStays, NotTheManager, TenantNotFound."""
        async with self._database.transaction(tenant) as connection:
            await changes.begin(connection, tenant, by)
            member = await self._get(connection, tenant, user)
            if member.role == "owner":
                raise OwnerStays
            await MemberRepository(connection).delete(tenant, user)
            now = self._clock.now()
            await changes.tell(connection, MemberRemoved, tenant, now, user_id=user, role=member.role)
        self._announce(user)

    async def _get(self, connection: Any, tenant: UUID, user: UUID) -> Member:
        found = await MemberRepository(connection).find(tenant, user)
        if found is None:
            raise MemberNotFound
        return found

    def _announce(self, user: UUID) -> None:
        self._wake.set()
        self._changed(user)
