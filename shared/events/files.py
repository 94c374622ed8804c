"""`files.v1`: what entered and left a tenant's storage. Written by `upload`, one per ledger entry."""

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from shared.events.base import Event

FileType = Literal["image", "video", "audio", "document", "other"]


class FileEvent(Event):
    """The whole file, so that no consumer has to ask. `size` in bytes, `sha256` in hex."""

    topic: ClassVar[str] = "files.v1"

    file_id: UUID
    path: str
    name: str
    size: int
    content_type: str
    file_type: FileType
    category: str
    subcategory: str | None
    entity_id: str | None
    project_id: UUID | None
    sha256: str
    uploaded_by: UUID | None
    stored_at: datetime


class FileStored(FileEvent):
    type: ClassVar[str] = "file.stored"


class FileDeleted(FileEvent):
    type: ClassVar[str] = "file.deleted"

    deleted_at: datetime
    deleted_by: UUID | None
