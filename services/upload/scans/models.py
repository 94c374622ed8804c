"""What was found, by file and content."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, UniqueConstraint
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlmodel import Field, SQLModel


class ScanResult(SQLModel, table=True):
    """`size` in bytes; the file may be gone. `signature`: what was found, or which limit was met."""

    __tablename__ = "scan_result"
    __table_args__ = (UniqueConstraint("file_id", "sha256"),)

    id: UUID = Field(primary_key=True)
    tenant_id: UUID = Field(foreign_key="tenant_storage.tenant_id")
    file_id: UUID
    file_name: str
    size: int = Field(sa_type=BigInteger)
    sha256: str
    verdict: str
    signature: str | None
    at: datetime = Field(sa_type=TIMESTAMP(timezone=True))
