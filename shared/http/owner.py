"""Whose an answer is: told by a service to the gateway, and by the gateway to nobody."""

from collections.abc import Iterable
from uuid import UUID

TENANT = "stowage-tenant"
PROJECT = "stowage-project"
_TENANT, _PROJECT = TENANT.encode(), PROJECT.encode()

Owner = tuple[UUID, UUID | None]


def owner_headers(tenant: UUID, project: UUID | None) -> dict[str, str]:
    """What a service adds to an answer that carries the bytes of a tenant's file, or takes them."""
    told = {TENANT: str(tenant)}
    return told if project is None else told | {PROJECT: str(project)}


def owner_of(headers: Iterable[tuple[bytes, bytes]]) -> Owner | None:
    """Tenant and project, None where the service says nothing."""
    tenant = project = None
    for name, value in headers:
        if name == _TENANT:
            tenant = UUID(value.decode())
        elif name == _PROJECT:
            project = UUID(value.decode())
    return None if tenant is None else (tenant, project)
