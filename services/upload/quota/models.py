"""A tenant's account and what it holds for uploads under way."""

import datetime as dt
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, LargeBinary, Text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlmodel import Field, SQLModel

_TIME: Any = TIMESTAMP(timezone=True)


class TenantStorage(SQLModel, table=True):
    """Bytes. `seq` and `head_hash` are the ledger's head; the row's lock orders everything of a tenant.

    `location` names the store new files go to; `versions_kept` of each file are kept when it is replaced.
    """

    __tablename__ = "tenant_storage"

    tenant_id: UUID = Field(primary_key=True)
    plan: str
    limit_bytes: int | None = Field(sa_type=BigInteger)
    max_file_bytes: int | None = Field(sa_type=BigInteger)
    images_month: int | None = Field(sa_type=BigInteger)
    allowed_types: list[str] | None = Field(sa_type=ARRAY(Text))
    trash_days: int = 0
    versions_kept: int = 0
    timezone: str = "UTC"
    location: str = "default"
    entitlements_version: int = Field(sa_type=BigInteger)
    used: int = Field(default=0, sa_type=BigInteger)
    reserved: int = Field(default=0, sa_type=BigInteger)
    files: int = Field(default=0, sa_type=BigInteger)
    seq: int = Field(default=0, sa_type=BigInteger)
    head_hash: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=_TIME)
    deleted_at: datetime | None = Field(sa_type=_TIME)


class Reservation(SQLModel, table=True):
    """`size` bytes held for one upload until it is settled, released, or dead; and one image of a month, above the
    quota if `image_paid`.
    """

    __tablename__ = "reservation"

    id: UUID = Field(primary_key=True)
    tenant_id: UUID = Field(foreign_key="tenant_storage.tenant_id")
    size: int = Field(sa_type=BigInteger)
    image_month: dt.date | None
    image_paid: bool = False
    expires_at: datetime = Field(sa_type=_TIME)
    created_at: datetime = Field(sa_type=_TIME)


class ImageMonth(SQLModel, table=True):
    """Images stored in a month, which begins and ends in the tenant's time zone; `bought` of them for credits."""

    __tablename__ = "image_month"

    tenant_id: UUID = Field(primary_key=True, foreign_key="tenant_storage.tenant_id")
    month: dt.date = Field(primary_key=True)
    used: int = Field(sa_type=BigInteger)
    bought: int = Field(default=0, sa_type=BigInteger)
