"""What stretches of ledgers sum to, of all tenants in one walk: what `usage` rebuilds its counters from."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, NamedTuple
from uuid import UUID

from pydantic import Field

from shared.db import Database

Position = Annotated[int, Field(ge=0, lt=2**63)]

PATIENCE = 3600.0  # seconds for a walk over everything
CHUNKS = 16  # of the answer, waiting for whoever reads it

# A replacement and a move take away from one place what they put into another: the few of them are gone through once
# more, by an index of their own, because every column to group by costs the many others. So are the images of a month,
# which nothing gives back.
_FOLD = """
    SELECT t.tenant_id, max(t.seq), file_type, category, project_id, owner,
        sum(delta) + coalesce(sum(previous_size), 0),
        count(*) - count(*) FILTER (WHERE action IN ('trash', 'restore', 'adjust'))
            - 2 * count(*) FILTER (WHERE action = 'delete') + coalesce(sum(delta_files), 0),
        coalesce(sum(CASE action WHEN 'trash' THEN file_size ELSE -file_size END) FILTER (WHERE {trash}), 0),
        coalesce(sum(CASE action WHEN 'trash' THEN 1 ELSE -1 END) FILTER (WHERE {trash}), 0),
        coalesce(sum(CASE action WHEN 'upload' THEN file_size ELSE -file_size END) FILTER (WHERE {version}), 0),
        coalesce(sum(CASE action WHEN 'upload' THEN 1 ELSE -1 END) FILTER (WHERE {version}), 0), NULL::date, 0
    FROM {source}
    GROUP BY t.tenant_id, file_type, category, project_id, owner
    UNION ALL
    SELECT t.tenant_id, max(t.seq), previous_file_type, previous_category, previous_project_id, previous_owner,
        -sum(previous_size), -count(*), 0, 0, 0, 0, NULL, 0
    FROM {source} WHERE previous_size IS NOT NULL
    GROUP BY t.tenant_id, previous_file_type, previous_category, previous_project_id, previous_owner
    UNION ALL
    SELECT t.tenant_id, max(t.seq), NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, image_month, count(*)
    FROM {source} WHERE image_month IS NOT NULL
    GROUP BY t.tenant_id, image_month
"""
_PARTS = {
    "trash": "was_trashed OR action IN ('trash', 'restore')",
    "version": "is_version AND action IN ('upload', 'delete')",
}
_ALL = _FOLD.format(source="ledger_amount AS t", **_PARTS)
_SOME = _FOLD.format(
    source="""unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS r(tenant_id, after, until)
        JOIN ledger_amount AS t ON t.tenant_id = r.tenant_id AND t.seq > r.after AND t.seq <= r.until""",
    **_PARTS,
)


class Stretch(NamedTuple):
    """Entries `after` < seq <= `until` of one tenant."""

    tenant_id: UUID
    after: Position
    until: Position


class LedgerFolds:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def csv(self, stretches: Sequence[Stretch] | None) -> AsyncIterator[bytes]:
        """Of the stretches, or of every ledger as it is now. A line is: tenant, last seq, file type, category, project,
        whose files; then bytes and files in all, in the trash, in older versions; at last a month's first day and the
        images taken of it, in lines that have neither kind nor amounts. Several lines of a kind add up.
        """
        chunks: asyncio.Queue[bytearray | None] = asyncio.Queue(CHUNKS)
        copying = asyncio.create_task(self._copy(stretches, chunks))
        try:
            while (chunk := await chunks.get()) is not None:
                yield bytes(chunk)
            await copying
        finally:
            copying.cancel()
            await asyncio.gather(copying, return_exceptions=True)

    async def _copy(self, stretches: Sequence[Stretch] | None, chunks: "asyncio.Queue[bytearray | None]") -> None:
        values: list[Any] = [] if stretches is None else [list(column) for column in zip(*stretches, strict=True)]
        try:
            async with self._database.transaction() as connection:
                # Hashed in memory: taken for as many groups as there could be, they would be sorted on the disk.
                await connection.execute("SET LOCAL work_mem = '64MB'; SET LOCAL enable_sort = off")
                await connection.copy_from_query(
                    _ALL if stretches is None else _SOME, *values, output=chunks.put, format="csv", timeout=PATIENCE
                )
        finally:
            await chunks.put(None)
