"""What of a listing is known already. Runs inside the caller's transaction, with the worker's role."""

from collections.abc import Sequence
from typing import Any

# Bytes on their way to be deleted are nobody's to adopt.
_KNOWN = """
    SELECT path FROM stored_file WHERE location = $1 AND path = ANY($2::text[])
    UNION SELECT path FROM blob_garbage WHERE location = $1 AND path = ANY($2::text[])
"""


async def list_known(connection: Any, location: str, paths: Sequence[str]) -> set[str]:
    return {row["path"] for row in await connection.fetch(_KNOWN, location, list(paths))}
