"""Transactions as the API shows them, and a proof on its way to `usage`."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, Field

from services.upload.ledger.folds import Stretch
from services.upload.ledger.service import LedgerProof, Past


class FoldsIn(BaseModel):
    """Tenant, `after` and `until` of each stretch; null asks for every ledger as it is."""

    stretches: Annotated[list[Stretch], Field(min_length=1, max_length=10_000)] | None


class TransactionOut(BaseModel):
    """S1.3. `delta` is the change in bytes stored; `uploaded_by` is who did it. The action `adjust` is of no file: its
    `file_id` is null, its names are empty, and `metadata` has the reason and the change in files.
    """

    seq: int
    id: UUID
    action: str
    file_id: UUID | None
    file_path: str
    file_name: str
    file_size: int
    delta: int
    content_type: str
    file_type: str
    category: str
    uploaded_by: UUID | None
    created_at: datetime
    metadata: dict[str, Any]

    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        return cls(**row, created_at=row["occurred_at"])


class KindOut(BaseModel):
    file_type: str
    category: str
    bytes: int
    files: int


class StoreOut(BaseModel):
    bytes: int
    files: int
    missing: list[str]
    orphans_bytes: int
    checked_at_position: int


class HeadOut(BaseModel):
    """The chain after entry `position`; 0 is before the first."""

    position: int
    head_hash: str


class PastOut(BaseModel):
    """The fold of the entries 1 … `position`, the last that had happened by `time`."""

    time: datetime
    position: int
    head_hash: str
    bytes: int
    files: int
    by_category: list[KindOut]

    @classmethod
    def of(cls, past: Past) -> Self:
        kinds = [KindOut(file_type=k.file_type, category=k.category, bytes=k.bytes, files=k.files) for k in past.kinds]
        total, files = sum(kind.bytes for kind in kinds), sum(kind.files for kind in kinds)
        where = {"position": past.position, "head_hash": past.head_hash}
        return cls(time=past.time, **where, bytes=total, files=files, by_category=kinds)


class ProofOut(BaseModel):
    position: int
    head_hash: str
    bytes: int
    files: int
    by_category: list[KindOut]
    store: StoreOut

    @classmethod
    def of(cls, proof: LedgerProof) -> Self:
        store = proof.store
        return cls(
            position=proof.position,
            head_hash=proof.head_hash,
            bytes=sum(kind.bytes for kind in proof.kinds),
            files=sum(kind.files for kind in proof.kinds),
            by_category=[
                KindOut(file_type=k.file_type, category=k.category, bytes=k.bytes, files=k.files) for k in proof.kinds
            ],
            store=StoreOut(
                bytes=store.bytes,
                files=store.files,
                missing=store.missing,
                orphans_bytes=store.orphans_bytes,
                checked_at_position=store.position,
            ),
        )
