"""A stored file's row."""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlmodel import Field, SQLModel

from services.upload.errors import FileBlocked, FileNotFound, FileScanning
from services.upload.files.rules import revision


class StoredFile(SQLModel, table=True):
    """`size` in bytes; `path` is the store's, `name` the user's; `id` was the upload's before it was the file's.

    `location` names the store its bytes are in. A row with `version_of` is an older version of that file.
    """

    __tablename__ = "stored_file"
    __table_args__ = (
        UniqueConstraint("tenant_id", "path"),
        UniqueConstraint("tenant_id", "idempotency_key"),
        Index("stored_file_newest", "tenant_id", "created_at", "id"),
    )

    id: UUID = Field(primary_key=True)
    tenant_id: UUID = Field(foreign_key="tenant_storage.tenant_id")
    path: str
    name: str
    size: int = Field(sa_type=BigInteger)
    content_type: str
    file_type: str
    category: str
    subcategory: str | None
    entity_id: str | None
    project_id: UUID | None
    sha256: str
    uploaded_by: UUID | None
    created_at: datetime = Field(sa_type=TIMESTAMP(timezone=True))
    # `metadata` is taken by SQLAlchemy on the class, not in the table.
    details: dict[str, Any] = Field(sa_type=JSONB, sa_column_kwargs={"name": "metadata"})
    idempotency_key: str | None = None
    folder: str = ""
    location: str = "default"
    state: str = "ready"
    version_of: UUID | None = None
    trashed_at: datetime | None = Field(default=None, sa_type=TIMESTAMP(timezone=True))
    trashed_by: UUID | None = None
    purge_at: datetime | None = Field(default=None, sa_type=TIMESTAMP(timezone=True))
    updated_at: datetime = Field(sa_type=TIMESTAMP(timezone=True))

    @property
    def etag(self) -> str:
        """Of what is said about the file; that of its bytes is their sha256."""
        told = self.model_dump(mode="json")
        return revision({**told, "metadata": told["details"]})

    def check_readable(self) -> None:
        """Raises FileNotFound for what is in the trash, FileScanning, FileBlocked."""
        if self.trashed_at is not None:
            raise FileNotFound
        if self.state == "scanning":
            raise FileScanning
        if self.state == "blocked":
            raise FileBlocked

    @classmethod
    def read(cls, row: dict[str, Any]) -> Self:
        """From the row's JSON, validated: a table model does not validate what it is constructed with."""
        return cls.model_validate({**row, "details": row["metadata"]})
