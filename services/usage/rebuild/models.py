from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Index, Text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlmodel import Field, SQLModel


class Rebuild(SQLModel, table=True):
    """Counters folded again from the ledgers' `entries`. `ahead`: tenants whose ledger ends before their counters.
    `whole`: from the first entry on, and not from where the last one ended.
    """

    __tablename__ = "rebuild"
    __table_args__ = (Index("rebuild_newest", "started_at", "id"),)

    id: UUID = Field(primary_key=True)
    reason: str = Field(sa_type=Text)
    started_at: datetime = Field(sa_type=TIMESTAMP(timezone=True))
    finished_at: datetime = Field(sa_type=TIMESTAMP(timezone=True))
    tenants: int = Field(sa_type=BigInteger)
    entries: int = Field(sa_type=BigInteger)
    differing: int = Field(sa_type=BigInteger)
    ahead: int = Field(sa_type=BigInteger)
    repaired: int = Field(sa_type=BigInteger)
    whole: bool = False


class RebuildWanted(SQLModel, table=True):
    """A migration has added what only the ledgers can fill: once, by the next worker."""

    __tablename__ = "rebuild_wanted"

    reason: str = Field(primary_key=True, sa_type=Text)


class FoldCheckpoint(SQLModel, table=True):
    """What a tenant's ledger sums to after entry `position`, by kind, project and user, and the images of each month;
    those kept by a version that did not know of images are not gone by.
    """

    __tablename__ = "fold_checkpoint"

    tenant_id: UUID = Field(primary_key=True)
    position: int = Field(sa_type=BigInteger)
    parts: list[dict[str, Any]] = Field(sa_type=JSONB)
    has_images: bool = False


class CounterAdjustment(SQLModel, table=True):
    """What one rebuild put right for one tenant: each figure as it was found and as the ledger has it."""

    __tablename__ = "counter_adjustment"

    tenant_id: UUID = Field(primary_key=True)
    rebuild_id: UUID = Field(primary_key=True)
    position: int = Field(sa_type=BigInteger)
    reason: str = Field(sa_type=Text)
    differences: list[dict[str, Any]] = Field(sa_type=JSONB)
    at: datetime = Field(sa_type=TIMESTAMP(timezone=True))
