from datetime import datetime
from uuid import UUID

from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlmodel import Field, SQLModel


class Tenant(SQLModel, table=True):
    """What its account has to know of it; the row is there before the account, or made with it."""

    __tablename__ = "tenant"

    tenant_id: UUID = Field(primary_key=True)
    timezone: str = "UTC"
    deleted_at: datetime | None = Field(default=None, sa_type=TIMESTAMP(timezone=True))
