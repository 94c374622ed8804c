"""What is in the trash."""

from typing import Any
from uuid import UUID

_TRASHED = "SELECT id FROM stored_file WHERE trashed_at IS NOT NULL ORDER BY trashed_at, id LIMIT $1"
_DUE = """
    SELECT tenant_id, id FROM stored_file WHERE trashed_at IS NOT NULL AND purge_at <= now()
    ORDER BY purge_at LIMIT $1
"""


async def list_trashed(connection: Any, limit: int) -> list[UUID]:
    """Of the tenant the transaction sees, longest in the trash first."""
    return [row["id"] for row in await connection.fetch(_TRASHED, limit)]


async def list_due(connection: Any, limit: int) -> list[tuple[UUID, UUID]]:
    """Tenants and files whose time in the trash is over; for the worker, who sees all tenants."""
    return [(row["tenant_id"], row["id"]) for row in await connection.fetch(_DUE, limit)]
