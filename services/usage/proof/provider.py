from typing import Protocol
from uuid import UUID

from pydantic import BaseModel, ValidationError

from services.usage.errors import LedgerUnreachable
from shared.errors import UpstreamError
from shared.http.client import ServiceClient


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


class Ledger(Protocol):
    async def prove(self, tenant: UUID, position: int) -> LedgerProof:
        """Raises LedgerUnreachable."""


class UploadLedger:
    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    async def prove(self, tenant: UUID, position: int) -> LedgerProof:
        # The store is walked file by file, which may take its time.
        path = f"/internal/ledger/{tenant}/proof?position={position}"
        try:
            return LedgerProof.model_validate(await self._client.request_json("GET", path, timeout=30))
        except (UpstreamError, ValidationError) as error:
            raise LedgerUnreachable from error
