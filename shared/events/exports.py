"""`exports.v1`: what became of an export somebody asked for. Written by `upload` in the commit that ends it."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from shared.events.base import Event


class ExportReady(Event):
    """`size` in bytes. `complete` is false where files could not be put in, which the archive lists. `requested_by`
    is null where no person asked.
    """

    type: ClassVar[str] = "export.ready"
    topic: ClassVar[str] = "exports.v1"

    export_id: UUID
    requested_by: UUID | None
    size: int
    complete: bool
    expires_at: datetime
    at: datetime


class ExportFailed(Event):
    """It failed for good, and is not tried again.

    `error` says why, in English, as the API does. `requested_by` is null where no person asked.
    """

    type: ClassVar[str] = "export.failed"
    topic: ClassVar[str] = "exports.v1"

    export_id: UUID
    requested_by: UUID | None
    error: str
    at: datetime
