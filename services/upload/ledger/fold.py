"""What the ledger's entries add up to, from its columns."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

# What a replacement or a move put somewhere it took away from somewhere else.
FOLD = """
    SELECT file_type, category, sum(bytes)::bigint AS bytes, sum(files)::bigint AS files FROM (
        SELECT file_type, category, CASE WHEN action = 'adjust' THEN delta ELSE sign * file_size END AS bytes,
            CASE WHEN action = 'adjust' THEN delta_files ELSE sign END AS files
        FROM storage_transaction CROSS JOIN LATERAL (
            SELECT CASE WHEN action = 'delete' THEN -1 WHEN action IN ('trash', 'restore') THEN 0 ELSE 1 END AS sign
        ) AS s
        WHERE tenant_id = $1 AND seq > $2 AND seq <= $3
        UNION ALL
        SELECT previous_file_type, previous_category, -previous_size, -1 FROM storage_transaction
        WHERE tenant_id = $1 AND seq > $2 AND seq <= $3 AND previous_size IS NOT NULL
    ) AS changes GROUP BY file_type, category ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Kind:
    file_type: str
    category: str
    bytes: int
    files: int


async def fold(connection: Any, tenant: UUID, until: int, *, after: int = 0) -> list[Kind]:
    """Of the entries `after` + 1 … `until`."""
    return [Kind(**dict(row)) for row in await connection.fetch(FOLD, tenant, after, until)]
