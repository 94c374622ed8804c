"""The ledger's table, which is also the outbox."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, LargeBinary
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlmodel import Field, SQLModel


class StorageTransaction(SQLModel, table=True):
    """One change of what a tenant stores, for ever. `body` is the exact JSON published; `delta` in bytes."""

    __tablename__ = "storage_transaction"

    tenant_id: UUID = Field(primary_key=True)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    id: UUID = Field(unique=True)
    action: str
    type: str
    file_id: UUID | None  # of an adjustment: none, and its name, path and content type are empty
    file_path: str
    file_name: str
    file_size: int = Field(sa_type=BigInteger)
    delta: int = Field(sa_type=BigInteger)
    content_type: str
    file_type: str
    category: str
    uploaded_by: UUID | None
    details: dict[str, Any] = Field(sa_type=JSONB, sa_column_kwargs={"name": "metadata"})
    occurred_at: datetime = Field(sa_type=TIMESTAMP(timezone=True))
    body: str
    traceparent: str | None
    prev_hash: bytes = Field(sa_type=LargeBinary)
    hash: bytes = Field(sa_type=LargeBinary)
    delta_files: int | None = Field(default=None, sa_type=BigInteger)  # of an adjustment, which is of no file
    image_month: date | None = None  # an image of that month was taken; its first day
