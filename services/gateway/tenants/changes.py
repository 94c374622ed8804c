"""A change of a tenant: one at a time, by those who may, and told with the whole state in the same commit."""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from services.gateway.errors import NotTheManager, TenantNotFound
from services.gateway.tenants.models import Tenant
from services.gateway.tenants.repository import TenantRepository
from services.gateway.tenants.rules import candidates
from shared import outbox
from shared.events import TenantCreated, TenantEvent


async def begin(connection: Any, tenant: UUID, user: UUID) -> None:
    """Whoever changes the same tenant waits until the commit: what is counted from here on stays.

    Raises TenantNotFound to whom it is not theirs (any more), and NotTheManager.
    """
    tenants = TenantRepository(connection)
    await tenants.lock(tenant)
    role = await tenants.find_role(tenant, user)
    if role is None:
        raise TenantNotFound
    if role not in ("owner", "admin"):
        raise NotTheManager


async def tell(connection: Any, kind: type[TenantEvent], tenant: UUID, at: datetime, **what: object) -> None:
    """The tenant as it stands after the change, and `what` has happened."""
    state = await TenantRepository(connection).find_state(tenant)
    if state is None:
        raise TenantNotFound
    facts = {name: state[name] for name in TenantEvent.model_fields if name != "tenant_id"}
    await outbox.append(connection, [kind.model_validate({"tenant_id": tenant, **facts, **what})], at=at)


async def found(connection: Any, tenant: Tenant, at: datetime) -> Tenant:
    """A new tenant with its owner, under the first address that is free."""
    tenants = TenantRepository(connection)
    tenant = replace(tenant, slug=await tenants.insert(tenant, candidates(tenant.name, _suffixes()), at))
    await tenants.insert_member(tenant.id, tenant.owner_id, "owner", at)
    await tell(connection, TenantCreated, tenant.id, at)
    return tenant


def _suffixes() -> Iterator[str]:
    while True:
        yield secrets.token_hex(3)
