"""`exports.v1`: what somebody asked for and can fetch now. Written by `upload` in the commit that ends the export."""

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
