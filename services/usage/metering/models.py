from datetime import datetime
from uuid import UUID

from sqlalchemy import TIMESTAMP, BigInteger, CheckConstraint
from sqlmodel import Field, SQLModel


class TenantMonth(SQLModel, table=True):
    """What a tenant used in one month of its time zone; traffic in bytes, of which so much more than the plan's was
    `bought`. `begun`: thresholds were judged by it; the
    newest of these is the one they stand by.
    """

    __tablename__ = "tenant_month"
    __table_args__ = (
        CheckConstraint("month BETWEEN 1 AND 12"),
        CheckConstraint("traffic_in >= 0"),
        CheckConstraint("traffic_out >= 0"),
        CheckConstraint("requests >= 0"),
        CheckConstraint("images >= 0"),
        CheckConstraint("traffic_bought >= 0"),
    )

    tenant_id: UUID = Field(primary_key=True)
    year: int = Field(primary_key=True)
    month: int = Field(primary_key=True)
    traffic_in: int = Field(default=0, sa_type=BigInteger)
    traffic_out: int = Field(default=0, sa_type=BigInteger)
    requests: int = Field(default=0, sa_type=BigInteger)
    images: int = Field(default=0, sa_type=BigInteger)
    traffic_bought: int = Field(default=0, sa_type=BigInteger)
    begun: bool = False
    updated_at: datetime = Field(sa_type=TIMESTAMP(timezone=True))
