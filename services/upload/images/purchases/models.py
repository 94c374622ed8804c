from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlmodel import Field, SQLModel

_TIME: Any = TIMESTAMP(timezone=True)

State = Literal["open", "stored", "dropped"]


class ImagePurchase(SQLModel, table=True):
    """One image above the quota, until billing knows what came of it: `stored` in the commit of the file, `dropped`
    when it never will be. Billing knows the credits held for it by the upload's id.
    """

    __tablename__ = "image_purchase"

    upload_id: UUID = Field(primary_key=True)
    tenant_id: UUID = Field(foreign_key="tenant_storage.tenant_id")
    state: State = Field(default="open", sa_type=Text)
    attempts: int = 0
    due_at: datetime = Field(sa_type=_TIME)
    error: str | None
    created_at: datetime = Field(sa_type=_TIME)
