"""Reading a month's images. Runs inside the caller's transaction, which sees one tenant."""

from datetime import date
from typing import Any
from uuid import UUID

from services.upload.images.quota.rules import Allowance

# What died holds nothing: it is given away as soon as somebody needs it.
_ALLOWANCE = """
    SELECT t.plan, t.images_month, coalesce(m.used, 0) + r.reserved AS used, coalesce(m.bought, 0) + r.buying AS bought
    FROM tenant_storage AS t LEFT JOIN image_month AS m ON m.tenant_id = $1 AND m.month = $2,
        LATERAL (SELECT count(*) AS reserved, count(*) FILTER (WHERE image_paid) AS buying FROM reservation
            WHERE tenant_id = $1 AND image_month = $2 AND expires_at > now()) AS r
    WHERE t.tenant_id = $1
"""


async def get_allowance(connection: Any, tenant: UUID, month: date) -> Allowance:
    row = await connection.fetchrow(_ALLOWANCE, tenant, month)
    return Allowance(row["plan"], row["images_month"], row["used"], row["bought"])
