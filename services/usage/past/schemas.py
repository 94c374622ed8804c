from datetime import datetime
from typing import Self

from pydantic import BaseModel

from services.usage.proof.provider import LedgerPast
from shared.sizes import format_bytes


class PastPartOut(BaseModel):
    file_type: str
    category: str
    file_count: int
    total_size: int


class PastOut(BaseModel):
    """What was stored at `time`, after ledger entry `position`, whose hash closes the chain there. The breakdown sums
    to `used` and `files`.
    """

    time: datetime
    position: int
    head_hash: str
    used: int
    used_formatted: str
    files: int
    breakdown: list[PastPartOut]

    @classmethod
    def of(cls, past: LedgerPast) -> Self:
        parts = sorted(past.by_category, key=lambda part: (-part.bytes, part.file_type, part.category))
        return cls(
            time=past.time,
            position=past.position,
            head_hash=past.head_hash,
            used=past.bytes,
            used_formatted=format_bytes(past.bytes),
            files=past.files,
            breakdown=[
                PastPartOut(file_type=p.file_type, category=p.category, file_count=p.files, total_size=p.bytes)
                for p in parts
            ],
        )
