from typing import Any
from uuid import UUID

# Less than a snapshot: whoever asks before every request waits for this.
_STANDING = """
    SELECT u.position, u.bytes AS used, u.limit_bytes AS limit, u.entitlements_version > 0 AS known, c.items,
           statement_timestamp() AS as_of
    FROM tenant_usage AS u
    LEFT JOIN threshold_choice AS c ON c.tenant_id = u.tenant_id AND c.metric = 'storage'
    WHERE u.tenant_id = $1
"""


async def find(connection: Any, tenant: UUID) -> Any | None:
    return await connection.fetchrow(_STANDING, tenant)
