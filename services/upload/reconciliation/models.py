"""What came of comparing a tenant's sides, and how far its ledger has been added up."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlmodel import Field, SQLModel

_TIME: Any = TIMESTAMP(timezone=True)


class Reconciliation(SQLModel, table=True):
    """One run over one tenant; `result` is the answer as it was given. Of those that found nothing the newest stays."""

    __tablename__ = "reconciliation"

    id: UUID = Field(primary_key=True)
    tenant_id: UUID
    at: datetime = Field(sa_type=_TIME)
    position: int = Field(sa_type=BigInteger)
    differing: bool
    repaired: bool
    result: dict[str, Any] = Field(sa_type=JSONB)


class ReconciliationCheckpoint(SQLModel, table=True):
    """`kinds`: the fold of the entries 1 … `position`, last made from the first entry on at `whole_at`. `gap`: what is
    apart since `gap_since`, in the form of `rules.Gap.told`; `drift`: how far each side was away at `looked_at`.
    """

    __tablename__ = "reconciliation_checkpoint"

    tenant_id: UUID = Field(primary_key=True)
    position: int = Field(sa_type=BigInteger)
    kinds: list[Any] = Field(sa_type=JSONB)
    looked_at: datetime = Field(sa_type=_TIME)
    whole_at: datetime = Field(sa_type=_TIME)
    drift: list[Any] = Field(sa_type=JSONB)
    gap: list[Any] | None = Field(default=None, sa_type=JSONB)
    gap_since: datetime | None = Field(default=None, sa_type=_TIME)
