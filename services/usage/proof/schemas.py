from datetime import datetime

from pydantic import BaseModel


class AmountOut(BaseModel):
    bytes: int
    files: int


class StoreOut(AmountOut):
    """`orphans_bytes` lie in the store without belonging to a file: they are nobody's usage."""

    missing: list[str]
    orphans_bytes: int


class LineOut(BaseModel):
    file_type: str
    category: str
    ledger: AmountOut
    counters: AmountOut
    equal: bool


class ProofOut(BaseModel):
    """Three independent sums after ledger entry `position`, whose hash closes the chain."""

    position: int
    as_of: datetime
    head_hash: str
    ledger: AmountOut
    counters: AmountOut
    store: StoreOut
    equal: bool
    by_category: list[LineOut]
