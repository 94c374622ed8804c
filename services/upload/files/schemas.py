"""Files as the API shows them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.upload.files.models import StoredFile
from services.upload.intake.acceptance import Stored
from services.upload.quota.schemas import QuotaOut
from shared.errors import DomainError
from shared.events import FileEvent

BULK = 1000  # files of one request


class FileOut(BaseModel):
    """`file_size` in bytes, `sha256` in hex; `file_path` is the store's, `file_name` and `folder` the user's.

    `state`: ready, scanning (hidden until found clean) or blocked. What is in the trash has `trashed_at`, and is
    deleted for good at `purge_at`.
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
    updated_at: datetime
    trashed_at: datetime | None
    purge_at: datetime | None
    metadata: dict[str, Any]

    @classmethod
    def of(cls, file: StoredFile, **more: Any) -> Self:
        return cls(
            file_id=file.id,
            state=file.state,
            created_at=file.created_at,
            updated_at=file.updated_at,
            trashed_at=file.trashed_at,
            purge_at=file.purge_at,
            metadata=file.details,
            **_said_of(file),
            **more,
        )

    @classmethod
    def just(cls, stored: Stored, **more: Any) -> Self:
        """Of what was written this moment: making its row for that alone costs more than all the rest of an answer."""
        event = stored.event
        return cls(
            file_id=event.file_id,
            state=stored.state,
            created_at=event.stored_at,
            updated_at=event.stored_at,
            trashed_at=None,
            purge_at=None,
            metadata=stored.metadata,
            **_said_of(event),
            **more,
        )


class UploadOut(FileOut):
    """`file_url` is signed and valid for an hour; `quota` is the account right after this upload."""

    file_url: str
    quota: QuotaOut


def _said_of(file: StoredFile | FileEvent) -> dict[str, Any]:
    return {
        "file_path": file.path,
        "file_name": file.name,
        "file_size": file.size,
        "content_type": file.content_type,
        "file_type": file.file_type,
        "sha256": file.sha256,
        "category": file.category,
        "subcategory": file.subcategory,
        "entity_id": file.entity_id,
        "folder": file.folder,
        "project_id": file.project_id,
        "uploaded_by": file.uploaded_by,
    }


def stored_row(stored: Stored) -> StoredFile:
    """The row that was just written."""
    event = stored.event
    fields: dict[str, Any] = event.model_dump(include=set(FileEvent.model_fields) - {"file_id", "stored_at"})
    fields |= {"details": stored.metadata, "state": stored.state, "updated_at": event.stored_at}
    return StoredFile(**fields, id=event.file_id, created_at=event.stored_at)


class PathIn(BaseModel):
    file_path: str


class VersionOut(BaseModel):
    """Bytes a file had until `replaced_at`."""

    version_id: UUID
    file_name: str
    file_size: int
    content_type: str
    sha256: str
    uploaded_by: UUID | None
    replaced_at: datetime
    metadata: dict[str, Any]

    @classmethod
    def of(cls, version: StoredFile) -> Self:
        return cls(
            version_id=version.id,
            file_name=version.name,
            file_size=version.size,
            content_type=version.content_type,
            sha256=version.sha256,
            uploaded_by=version.uploaded_by,
            replaced_at=version.updated_at,
            metadata=version.details,
        )


class PlaceIn(BaseModel):
    """What is not said stays as it is; null takes a subcategory, entity or project away."""

    model_config = ConfigDict(extra="forbid")

    folder: Annotated[str, Field(max_length=1024)] = ""
    category: Annotated[str, Field(max_length=64)] = ""
    subcategory: Annotated[str, Field(max_length=64)] | None = None
    entity_id: Annotated[str, Field(max_length=64)] | None = None
    project_id: UUID | None = None

    def said(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True)


class ChangeIn(PlaceIn):
    """As in PlaceIn. `metadata` takes the place of all there was."""

    name: str = ""
    metadata: dict[str, Any] = {}


class CopyIn(ChangeIn):
    """As in ChangeIn. `strip_location`: the copy does not say where the photo was taken."""

    strip_location: bool = False

    def said(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True, exclude={"strip_location"})


class MoveIn(PlaceIn):
    ids: Annotated[list[UUID], Field(min_length=1, max_length=BULK)]

    def said(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True, exclude={"ids"})


class MovedItem(BaseModel):
    """`result` is moved, or the code of a refusal."""

    file_id: UUID
    result: str


class MovedOut(BaseModel):
    items: list[MovedItem]
    moved: int

    @classmethod
    def of(cls, results: Mapping[UUID, StoredFile | DomainError]) -> Self:
        codes = {key: r.code if isinstance(r, DomainError) else "moved" for key, r in results.items()}
        items = [MovedItem(file_id=key, result=code) for key, code in codes.items()]
        return cls(items=items, moved=list(codes.values()).count("moved"))
