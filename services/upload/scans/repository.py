"""All SQL on scans. Runs inside the caller's transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.upload.files.models import StoredFile
from services.upload.scans.models import ScanResult
from services.upload.scans.rules import Verdict
from shared.ids import new_id

_FIND = "SELECT to_jsonb(f) FROM stored_file AS f WHERE id = $1 AND state = 'scanning'"

_RECORD = """
    INSERT INTO scan_result (id, tenant_id, file_id, file_name, size, sha256, verdict, signature)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (file_id, sha256) DO UPDATE SET verdict = excluded.verdict, signature = excluded.signature, at = now()
"""

_PAGE = """
    SELECT to_jsonb(s) AS result FROM scan_result AS s
    WHERE ($1::timestamptz IS NULL OR (at, id) < ($1, $2)) AND ($3::text IS NULL OR verdict = $3)
    ORDER BY at DESC, id DESC LIMIT $4
"""

# A file that waits for a scan without a task for it: a version kept of one that was just being scanned, a restored
# database.
_RESUME = """
    INSERT INTO file_task (tenant_id, file_id, kind)
    SELECT f.tenant_id, f.id, 'scan' FROM stored_file AS f
    WHERE f.state = 'scanning' AND NOT EXISTS (SELECT FROM file_task AS t WHERE t.file_id = f.id AND t.kind = 'scan')
    ON CONFLICT DO NOTHING
"""


async def find_waiting(connection: Any, file: UUID) -> StoredFile | None:
    row = await connection.fetchval(_FIND, file)
    return None if row is None else StoredFile.read(row)


async def record(connection: Any, file: StoredFile, verdict: Verdict) -> None:
    """Once for each content of a file, whatever is scanned twice."""
    said = (file.name, file.size, file.sha256, verdict.name, verdict.signature)
    await connection.execute(_RECORD, new_id(), file.tenant_id, file.id, *said)


async def list_newest(
    connection: Any, limit: int, after: tuple[datetime, UUID] | None, verdict: str | None
) -> Sequence[ScanResult]:
    """Newest first, past the (at, id) given."""
    at, result_id = after or (None, None)
    rows = await connection.fetch(_PAGE, at, result_id, verdict, limit)
    return [ScanResult.model_validate(row["result"]) for row in rows]


async def resume(connection: Any) -> None:
    await connection.execute(_RESUME)
