"""How far an upload is, as clients are told."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

from services.upload.files.models import StoredFile
from services.upload.resumable.errors import InvalidHeader
from services.upload.resumable.models import ResumableUpload
from services.upload.resumable.rules import read_metadata, write_metadata


@dataclass(frozen=True, slots=True)
class Progress:
    """`offset` bytes of `length` are safe; `file` is what became of a whole upload. A part becomes no file."""

    id: UUID
    offset: int
    length: int | None
    said: str
    concat: str | None = None
    expires_at: datetime | None = None
    file: UUID | None = None

    @classmethod
    def of(cls, upload: ResumableUpload) -> Self:
        file = upload.id if upload.finished and not upload.partial else None
        expires = None if file else upload.expires_at
        return cls(upload.id, upload.upload_offset, upload.length, upload.said, upload.concat, expires, file)

    @classmethod
    def of_file(cls, file: StoredFile) -> Self:
        """Of an upload that came whole in one request, or long ago."""
        place = {"category": file.category, "subcategory": file.subcategory, "entity_id": file.entity_id}
        place["project_id"] = None if file.project_id is None else str(file.project_id)
        said = write_metadata({"filename": file.name, "filetype": file.content_type, **place})
        return cls(file.id, file.size, file.size, said, file=file.id)

    @property
    def project(self) -> UUID | None:
        """As the client said; what it says of a part may be anything."""
        with suppress(InvalidHeader, ValueError):
            return UUID(read_metadata(self.said).get("project_id", ""))
        return None
