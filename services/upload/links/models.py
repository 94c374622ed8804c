"""A link's row."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlmodel import Field, SQLModel


class FileLink(SQLModel, table=True):
    """`kept`: made with a row; otherwise one of `/url`, whose row came when it was first used or revoked.

    `continued`: bytes of continuations, which the uses have paid for. `failures`: wrong passwords since `failed_at`.
    """

    __tablename__ = "file_link"
    __table_args__ = (
        Index("file_link_newest", "tenant_id", "created_at", "id"),
        Index("file_link_file", "file_id", "created_at", "id"),
    )

    id: UUID = Field(primary_key=True)
    tenant_id: UUID = Field(foreign_key="tenant_storage.tenant_id")
    file_id: UUID | None = Field(foreign_key="stored_file.id")
    kept: bool
    disposition: str = "attachment"
    password_hash: str | None = None
    max_uses: int | None = None
    uses: int = 0
    continued: int = Field(default=0, sa_type=BigInteger)
    bytes_sent: int = Field(default=0, sa_type=BigInteger)
    failures: int = 0
    failed_at: datetime | None = Field(default=None, sa_type=TIMESTAMP(timezone=True))
    created_by: UUID | None = None
    created_at: datetime = Field(sa_type=TIMESTAMP(timezone=True))
    expires_at: datetime = Field(sa_type=TIMESTAMP(timezone=True))
    revoked_at: datetime | None = Field(default=None, sa_type=TIMESTAMP(timezone=True))
