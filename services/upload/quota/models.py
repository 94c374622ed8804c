"""A tenant's account and what it holds for uploads under way."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, LargeBinary
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlmodel import Field, SQLModel


class TenantStorage(SQLModel, table=True):
    """Bytes. `seq` and `head_hash` are the ledger's head; the row's lock orders everything of a tenant."""

    __tablename__ = "tenant_storage"

    tenant_id: UUID = Field(primary_key=True)
    plan: str
    limit_bytes: int | None = Field(sa_type=BigInteger)
    max_file_bytes: int | None = Field(sa_type=BigInteger)
    entitlements_version: int = Field(sa_type=BigInteger)
    used: int = Field(default=0, sa_type=BigInteger)
    reserved: int = Field(default=0, sa_type=BigInteger)
    files: int = Field(default=0, sa_type=BigInteger)
    seq: int = Field(default=0, sa_type=BigInteger)
    head_hash: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=TIMESTAMP(timezone=True))


class Reservation(SQLModel, table=True):
    """`size` bytes held for one upload until it is settled, released, or dead."""

    __tablename__ = "reservation"

    id: UUID = Field(primary_key=True)
    tenant_id: UUID = Field(foreign_key="tenant_storage.tenant_id")
    size: int = Field(sa_type=BigInteger)
    expires_at: datetime = Field(sa_type=TIMESTAMP(timezone=True))
    created_at: datetime = Field(sa_type=TIMESTAMP(timezone=True))
