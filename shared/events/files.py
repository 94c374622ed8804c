"""`files.v1`: what entered, changed and left a tenant's storage. Written by `upload`, one per ledger entry.

What a tenant stores is the sum over these: `file.stored` adds a file, `file.deleted` takes it away again,
`file.replaced` exchanges one size for another, `storage.adjusted` puts right what was counted wrongly, the rest change
no byte.
"""

from datetime import date, datetime
from typing import ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from shared.events.base import Event

FileType = Literal["image", "video", "audio", "document", "other"]


class FileEvent(Event):
    """The whole file as it is after the event, so that no consumer has to ask. `size` in bytes, `sha256` in hex.

    `folder` has slashes between its names and none around them. A kept older version is a file of its own:
    `version_of` is the file it was.
    """

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
    # Bodies from before there were folders and versions have neither.
    folder: str = ""
    version_of: UUID | None = None


class FileBefore(BaseModel):
    """What a change took the place of: where its bytes were counted, and how many they were."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    path: str
    name: str
    size: int
    file_type: FileType
    category: str
    subcategory: str | None
    entity_id: str | None
    project_id: UUID | None
    folder: str
    sha256: str
    uploaded_by: UUID | None = None  # missing in bodies from before anybody counted by it


class FileStored(FileEvent):
    """`image_month`: it took one of that month's images, whose first day it is."""

    type: ClassVar[str] = "file.stored"

    image_month: date | None = None


class FileReplaced(FileEvent):
    """The same file with other bytes. `kept`: the previous bytes stay as a version, stored by the next entry.
    `reverted`: they were not fit to stay, and the file has those of an older version, deleted by the next entry.
    `image_month` as of what is stored.
    """

    type: ClassVar[str] = "file.replaced"

    previous: FileBefore
    replaced_at: datetime
    replaced_by: UUID | None
    kept: bool = False
    reverted: bool = False
    image_month: date | None = None


class FileMoved(FileEvent):
    """Another name, folder, category, entity or project; the same bytes."""

    type: ClassVar[str] = "file.moved"

    previous: FileBefore
    moved_at: datetime
    moved_by: UUID | None


class FileTrashed(FileEvent):
    """Out of sight, still stored and counted, until it is restored or purged."""

    type: ClassVar[str] = "file.trashed"

    trashed_at: datetime
    trashed_by: UUID | None
    purge_at: datetime


class FileRestored(FileEvent):
    type: ClassVar[str] = "file.restored"

    restored_at: datetime
    restored_by: UUID | None


class FileDeleted(FileEvent):
    """`trashed`: its bytes were counted as trash until now."""

    type: ClassVar[str] = "file.deleted"

    deleted_at: datetime
    deleted_by: UUID | None
    trashed: bool = False


class StorageAdjusted(Event):
    """What is counted of one kind of file changes by so much, and no file does: the books had not agreed with what is
    there. `reason` says how; `id` is the reconciliation's.

    `partial`: the next entry belongs to the same correction, and usage never was what it is in between. Where nothing
    but the account was wrong both deltas are 0.
    """

    topic: ClassVar[str] = "files.v1"
    type: ClassVar[str] = "storage.adjusted"

    id: UUID
    file_type: FileType
    category: str
    project_id: UUID | None
    delta_bytes: int
    delta_files: int
    reason: str
    at: datetime
    partial: bool
