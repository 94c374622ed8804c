"""Files as the API shows them."""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel

from services.upload.files.models import StoredFile
from services.upload.intake.acceptance import Stored
from services.upload.quota.schemas import QuotaOut
from shared.events import FileEvent


class FileOut(BaseModel):
    """`file_size` in bytes, `sha256` in hex; `file_path` is the store's, `file_name` and `folder` the user's.

    `state`: ready, scanning (hidden until found clean) or blocked.
    """

    file_id: UUID
    file_path: str
    file_name: str
    file_size: int
    content_type: str
    file_type: str
    sha256: str
    category: str
    subcategory: str | None
    entity_id: str | None
    folder: str
    project_id: UUID | None
    uploaded_by: UUID | None
    state: str
    created_at: datetime
    metadata: dict[str, Any]

    @classmethod
    def of(cls, file: StoredFile) -> Self:
        return cls(
            file_id=file.id,
            file_path=file.path,
            file_name=file.name,
            file_size=file.size,
            content_type=file.content_type,
            file_type=file.file_type,
            sha256=file.sha256,
            category=file.category,
            subcategory=file.subcategory,
            entity_id=file.entity_id,
            folder=file.folder,
            project_id=file.project_id,
            uploaded_by=file.uploaded_by,
            state=file.state,
            created_at=file.created_at,
            metadata=file.details,
        )


class UploadOut(FileOut):
    """`file_url` is signed and valid for an hour; `quota` is the account right after this upload."""

    file_url: str
    quota: QuotaOut


def stored_row(stored: Stored) -> StoredFile:
    """The row that was just written."""
    event = stored.event
    fields: dict[str, Any] = event.model_dump(include=set(FileEvent.model_fields) - {"file_id", "stored_at"})
    fields |= {"details": stored.metadata, "state": stored.state, "updated_at": event.stored_at}
    return StoredFile(**fields, id=event.file_id, created_at=event.stored_at)


class PathIn(BaseModel):
    file_path: str


class LinkOut(BaseModel):
    url: str
    expires_at: datetime
