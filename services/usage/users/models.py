from datetime import datetime
from uuid import UUID

from sqlalchemy import TIMESTAMP, BigInteger
from sqlmodel import Field, SQLModel


class UserUsage(SQLModel, table=True):
    """What the files hold that a person uploaded, trash and versions included. Files of nobody known are the rest of
    the tenant.
    """

    __tablename__ = "user_usage"

    tenant_id: UUID = Field(primary_key=True)
    user_id: UUID = Field(primary_key=True)
    bytes: int = Field(sa_type=BigInteger)
    files: int = Field(sa_type=BigInteger)
    trashed_bytes: int = Field(default=0, sa_type=BigInteger)
    trashed_files: int = Field(default=0, sa_type=BigInteger)
    version_bytes: int = Field(default=0, sa_type=BigInteger)
    version_files: int = Field(default=0, sa_type=BigInteger)
    updated_at: datetime = Field(sa_type=TIMESTAMP(timezone=True))
