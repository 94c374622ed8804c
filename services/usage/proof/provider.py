from datetime import datetime
from typing import Protocol, TypeVar
from urllib.parse import quote
from uuid import UUID

from pydantic import BaseModel, ValidationError

from services.usage.errors import LedgerUnreachable
from shared.errors import UpstreamError
from shared.http.client import ServiceClient

Answer = TypeVar("Answer", bound=BaseModel)


class LedgerPart(BaseModel):
    file_type: str
    category: str
    bytes: int
    files: int


class StoreAmount(BaseModel):
    """What is really there, read from the store. `missing` names files of the ledger that are not."""

    bytes: int
    files: int
    missing: list[str]
    orphans_bytes: int
    checked_at_position: int


class LedgerProof(BaseModel):
    """The fold of the ledger's entries 1 … `position`, and the head of its hash chain there."""

    position: int
    head_hash: str
    bytes: int
    files: int
    by_category: list[LedgerPart]
    store: StoreAmount


class LedgerPast(BaseModel):
    """The fold of the entries that had happened by `time`, the last of them `position`."""

    time: datetime
    position: int
    head_hash: str
    bytes: int
    files: int
    by_category: list[LedgerPart]


class Ledger(Protocol):
    """Raises LedgerUnreachable."""

    async def prove(self, tenant: UUID, position: int) -> LedgerProof: ...

    async def look_back(self, tenant: UUID, time: datetime) -> LedgerPast: ...


class UploadLedger:
    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    async def prove(self, tenant: UUID, position: int) -> LedgerProof:
        return await self._ask(LedgerProof, f"/internal/ledger/{tenant}/proof?position={position}")

    async def look_back(self, tenant: UUID, time: datetime) -> LedgerPast:
        return await self._ask(LedgerPast, f"/internal/ledger/{tenant}/at?time={quote(time.isoformat())}")

    async def _ask(self, kind: type[Answer], path: str) -> Answer:
        # The store is walked file by file and the ledger entry by entry, which may take its time.
        try:
            return kind.model_validate(await self._client.request_json("GET", path, timeout=30))
        except (UpstreamError, ValidationError) as error:
            raise LedgerUnreachable from error
