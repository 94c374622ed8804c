from datetime import date, datetime
from uuid import UUID

from sqlalchemy import TIMESTAMP, BigInteger, CheckConstraint, Text
from sqlmodel import Field, SQLModel


class TenantFigure(SQLModel, table=True):
    """What was told last of one metric of a tenant, by record `seq` of its topic. `remaining` where that is told, too;
    `month`: the first day of the tenant's month it is of.
    """

    __tablename__ = "tenant_figure"
    __table_args__ = (CheckConstraint("used >= 0"), CheckConstraint("remaining >= 0"), CheckConstraint("seq > 0"))

    tenant_id: UUID = Field(primary_key=True)
    metric: str = Field(primary_key=True, sa_type=Text)
    used: int = Field(sa_type=BigInteger)
    remaining: int | None = Field(default=None, sa_type=BigInteger)
    month: date | None = None
    seq: int = Field(sa_type=BigInteger)
    updated_at: datetime = Field(sa_type=TIMESTAMP(timezone=True))
