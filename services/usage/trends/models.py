from datetime import date
from decimal import Decimal

from sqlalchemy import BigInteger, Numeric
from sqlmodel import Field, SQLModel


class UsageTotal(SQLModel, table=True):
    """All tenants together: bytes stored at the end of a day and bytes moved on it, each tenant's day its own."""

    __tablename__ = "usage_total"

    day: date = Field(primary_key=True)
    tenants: int = Field(sa_type=BigInteger)
    bytes: Decimal = Field(sa_type=Numeric)
    files: int = Field(sa_type=BigInteger)
    bytes_in: Decimal = Field(sa_type=Numeric)
    bytes_out: Decimal = Field(sa_type=Numeric)
    requests: int = Field(sa_type=BigInteger)
