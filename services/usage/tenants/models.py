from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, Text, text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlmodel import Field, SQLModel

from shared.events.entitlements import Isolation

__all__ = ["Isolation", "IsolationGrant", "Tenant"]


class Tenant(SQLModel, table=True):
    """What `tenants.v1` told of it last. `isolation` is where its storage management shall be, `place` where it is.

    `number` is given once and names its schema, `client_<number>`.
    """

    __tablename__ = "tenant"
    __table_args__ = (
        CheckConstraint("isolation IN ('shared', 'schema')"),
        CheckConstraint("place IN ('shared', 'schema')"),
        Index(
            "tenant_unsettled",
            "tenant_id",
            postgresql_where=text("place IS DISTINCT FROM CASE WHEN deleted_at IS NULL THEN isolation END"),
        ),
    )

    tenant_id: UUID = Field(primary_key=True)
    slug: str = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    owner_id: UUID
    timezone: str = Field(sa_type=Text)
    number: int = Field(sa_type=BigInteger, sa_column_args=[Identity(always=True)], unique=True)
    isolation: str = Field(sa_type=Text)
    place: str | None = Field(default=None, sa_type=Text)  # none yet, or none any more
    calculated_at: datetime | None = Field(default=None, sa_type=TIMESTAMP(timezone=True))
    calculated_position: int = Field(default=0, sa_type=BigInteger)  # the ledger entry counted by then
    seq: int = Field(sa_type=BigInteger)  # of the record it was taken from
    deleted_at: datetime | None = Field(default=None, sa_type=TIMESTAMP(timezone=True))


class IsolationGrant(SQLModel, table=True):
    """What the tenant's plan says last, by the version of its entitlements; 0 before any was heard of."""

    __tablename__ = "isolation_grant"
    __table_args__ = (CheckConstraint("isolation IN ('shared', 'schema')"),)

    tenant_id: UUID = Field(primary_key=True)
    version: int = Field(sa_type=BigInteger)
    isolation: str = Field(sa_type=Text)
