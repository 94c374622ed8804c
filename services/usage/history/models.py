from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import TIMESTAMP, BigInteger, Index, Numeric
from sqlmodel import Field, SQLModel


class StorageBucket(SQLModel):
    """A bucket in which entries came, by what it ended with; one without has no row. `integral` is byte-microseconds
    since the tenant's first entry, up to `measured_at`.
    """

    tenant_id: UUID = Field(primary_key=True)
    bytes: int = Field(sa_type=BigInteger, ge=0)
    files: int = Field(sa_type=BigInteger, ge=0)
    peak: int = Field(sa_type=BigInteger)
    integral: Decimal = Field(sa_type=Numeric)
    measured_at: datetime = Field(sa_type=TIMESTAMP(timezone=True))


class TrafficBucket(SQLModel):
    """What went through the gateways in a bucket."""

    tenant_id: UUID = Field(primary_key=True)
    bytes_in: int = Field(sa_type=BigInteger, ge=0)
    bytes_out: int = Field(sa_type=BigInteger, ge=0)
    requests: int = Field(sa_type=BigInteger, ge=0)


class StorageMinute(StorageBucket, table=True):
    __tablename__ = "storage_minute"

    at: datetime = Field(primary_key=True, sa_type=TIMESTAMP(timezone=True))


class StorageHour(StorageBucket, table=True):
    __tablename__ = "storage_hour"

    at: datetime = Field(primary_key=True, sa_type=TIMESTAMP(timezone=True))


class StorageDay(StorageBucket, table=True):
    """Of the tenant's zone."""

    __tablename__ = "storage_day"

    at: date = Field(primary_key=True)


class TrafficMinute(TrafficBucket, table=True):
    __tablename__ = "traffic_minute"

    at: datetime = Field(primary_key=True, sa_type=TIMESTAMP(timezone=True))


class TrafficHour(TrafficBucket, table=True):
    __tablename__ = "traffic_hour"

    at: datetime = Field(primary_key=True, sa_type=TIMESTAMP(timezone=True))


class TrafficDay(TrafficBucket, table=True):
    """Of the tenant's zone."""

    __tablename__ = "traffic_day"
    __table_args__ = (Index("traffic_day_at", "at"),)

    at: date = Field(primary_key=True)
