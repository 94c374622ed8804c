"""An upload in pieces, as its row."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Index
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlmodel import Field, SQLModel

_TIME: Any = TIMESTAMP(timezone=True)


class ResumableUpload(SQLModel, table=True):
    """`upload_offset` bytes of `length` are safe, and `state` is what the store goes on from; `length` None: not said
    yet. `said` and `concat` are the client's Upload-Metadata and Upload-Concat.

    `lease` is the request's that writes now, as long as `beat` is fresh; with `wanted` another one waits for it.
    """

    __tablename__ = "resumable_upload"
    __table_args__ = (Index("resumable_upload_expiry", "expires_at"),)

    id: UUID = Field(primary_key=True)
    tenant_id: UUID = Field(foreign_key="tenant_storage.tenant_id")
    user_id: UUID | None
    location: str
    length: int | None = Field(sa_type=BigInteger)
    upload_offset: int = Field(default=0, sa_type=BigInteger)
    state: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB)
    said: str
    concat: str | None = None
    finished: bool = False
    lease: UUID | None = None
    beat: datetime | None = Field(default=None, sa_type=_TIME)
    wanted: bool = False
    expires_at: datetime = Field(sa_type=_TIME)
    created_at: datetime | None = Field(default=None, sa_type=_TIME)

    @property
    def partial(self) -> bool:
        return self.concat == "partial"

    @property
    def final(self) -> bool:
        """Made of others."""
        return self.concat is not None and not self.partial

    @property
    def whole(self) -> bool:
        """Every byte is here; whether it is a file yet is another question."""
        return self.upload_offset == self.length


def part_path(tenant: UUID, upload_id: UUID) -> str:
    """Where a finished part waits, and a photo whose location is to be taken out: outside of what is listed as the
    tenant's files.
    """
    return f"parts/{tenant}/{upload_id}"
