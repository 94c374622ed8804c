"""Reading a month's images. Runs inside the caller's transaction, which sees one tenant."""

from datetime import date
from typing import Any
from uuid import UUID

from services.upload.images.quota.rules import Allowance

# What died holds nothing: it is given away as soon as somebody needs it.
_ALLOWANCE = """
    SELECT t.plan, t.images_month,
        coalesce((SELECT used FROM image_month WHERE tenant_id = $1 AND month = $2), 0)
        + (SELECT count(*) FROM reservation
           WHERE tenant_id = $1 AND image_month = $2 AND expires_at > now()) AS used
    FROM tenant_storage AS t WHERE t.tenant_id = $1
"""


async def get_allowance(connection: Any, tenant: UUID, month: date) -> Allowance:
    row = await connection.fetchrow(_ALLOWANCE, tenant, month)
    return Allowance(row["plan"], row["images_month"], row["used"])
