"""All SQL on thumbnails. Runs inside the caller's transaction."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.upload.files.models import StoredFile

_FIND = "SELECT location, path, bytes FROM thumbnail WHERE file_id = $1 AND sha256 = $2 AND size = $3"
_LOCK = f"{_FIND} FOR UPDATE"
_INSERT = """
    INSERT INTO thumbnail (file_id, sha256, size, tenant_id, location, path)
    SELECT id, sha256, $3, tenant_id, location, $4 FROM stored_file WHERE id = $1 AND sha256 = $2
    ON CONFLICT DO NOTHING
"""
_MADE = "UPDATE thumbnail SET bytes = $4, last_used = now() WHERE file_id = $1 AND sha256 = $2 AND size = $3"
# An hour's accuracy is enough to know what nobody looks at, and spares a write for every look.
_USED = """
    UPDATE thumbnail SET last_used = now()
    WHERE file_id = $1 AND sha256 = $2 AND size = $3 AND last_used < now() - interval '1 hour'
"""
_OUTDATED = "DELETE FROM thumbnail WHERE file_id = $1 AND sha256 <> $2"


@dataclass(frozen=True, slots=True)
class Kept:
    """`bytes` None: nobody has made it yet, or somebody is about to."""

    location: str
    path: str
    bytes: int | None


async def find(connection: Any, file: StoredFile, size: int) -> Kept | None:
    return _kept(await connection.fetchrow(_FIND, file.id, file.sha256, size))


async def lock(connection: Any, file: StoredFile, size: int) -> Kept | None:
    """Waits for whoever makes it."""
    return _kept(await connection.fetchrow(_LOCK, file.id, file.sha256, size))


async def insert(connection: Any, file: StoredFile, size: int, path: str) -> None:
    """Says where it will be, before it is there; and forgets those of other bytes the file had before."""
    await connection.execute(_OUTDATED, file.id, file.sha256)
    await connection.execute(_INSERT, file.id, file.sha256, size, path)


async def note_made(connection: Any, file: StoredFile, size: int, length: int) -> None:
    await connection.execute(_MADE, file.id, file.sha256, size, length)


async def note_used(connection: Any, file: StoredFile, size: int) -> None:
    await connection.execute(_USED, file.id, file.sha256, size)


def path_of(tenant: UUID, file_id: UUID, size: int, name: UUID) -> str:
    """Apart from the tenant's files, and never the same twice: what is being removed is not what is being made."""
    return f"derived/{tenant}/{file_id}/{size}-{name}.webp"


def _kept(row: Any) -> Kept | None:
    return None if row is None else Kept(row["location"], row["path"], row["bytes"])
