"""All SQL on moving files between stores. Runs inside the caller's transaction, with the worker's role."""

from typing import Any
from uuid import UUID

_SEND = "UPDATE tenant_storage SET location = $1 WHERE location <> $1 AND ($2::uuid IS NULL OR tenant_id = $2)"
_BEGIN = "UPDATE new_account SET location = $1"
_ELSEWHERE = """
    SELECT to_jsonb(f) AS file FROM stored_file AS f
    WHERE location <> $1 AND id > $3 AND ($2::uuid IS NULL OR tenant_id = $2) ORDER BY id LIMIT 200
"""
_TAKEN = "SELECT EXISTS (SELECT FROM stored_file WHERE location = $1 AND path = $2)"
_THUMBNAILS = "DELETE FROM thumbnail WHERE file_id = $1"
_TAKE_AWAY = "DELETE FROM blob_garbage WHERE location = $1 AND path = $2"


async def send_new_files(connection: Any, location: str, tenant: UUID | None) -> None:
    """Of one tenant, or of all there are and will be."""
    if tenant is None:
        await connection.execute(_BEGIN, location)
    await connection.execute(_SEND, location, tenant)


async def list_elsewhere(connection: Any, location: str, tenant: UUID | None, after: UUID) -> list[dict[str, Any]]:
    """Files, versions and trash that are not there, as JSON, in the order of their ids."""
    return [row["file"] for row in await connection.fetch(_ELSEWHERE, location, tenant, after)]


async def is_taken(connection: Any, location: str, path: str) -> bool:
    return bool(await connection.fetchval(_TAKEN, location, path))


async def take_note_away(connection: Any, location: str, path: str) -> None:
    await connection.execute(_TAKE_AWAY, location, path)


async def drop_thumbnails(connection: Any, file_id: UUID) -> None:
    """They lie where the file was; where it is now they are made again when somebody asks."""
    await connection.execute(_THUMBNAILS, file_id)
