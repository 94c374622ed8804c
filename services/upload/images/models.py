"""What is known of a stored image, and the smaller pictures made of it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, SmallInteger
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlmodel import Field, SQLModel

_TIME: Any = TIMESTAMP(timezone=True)


class Image(SQLModel, table=True):
    """True of the file whose bytes have `sha256`. `error`: why nothing could be seen. `model` made the embedding, which
    is a `vector` in the table: only SQL touches it.
    """

    __tablename__ = "image"

    file_id: UUID = Field(primary_key=True, foreign_key="stored_file.id", ondelete="CASCADE")
    tenant_id: UUID
    sha256: str
    width: int | None
    height: int | None
    orientation: int | None = Field(sa_type=SmallInteger)
    format: str | None
    has_location: bool | None
    phash: int | None = Field(sa_type=BigInteger)
    model: str | None
    analysis: dict[str, Any] = Field(sa_type=JSONB)
    error: str | None
    analysed_at: datetime = Field(sa_type=_TIME)


class Thumbnail(SQLModel, table=True):
    """`bytes` None: it is being made. Its blob becomes garbage with the row."""

    __tablename__ = "thumbnail"

    file_id: UUID = Field(primary_key=True, foreign_key="stored_file.id", ondelete="CASCADE")
    sha256: str = Field(primary_key=True)
    size: int = Field(primary_key=True)
    tenant_id: UUID
    location: str
    path: str
    bytes: int | None = Field(sa_type=BigInteger)
    last_used: datetime = Field(sa_type=_TIME)
