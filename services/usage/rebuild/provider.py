from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from services.usage.errors import LedgerUnreachable
from services.usage.rebuild.shadow import Apart
from shared.errors import UpstreamError
from shared.http import ServiceClient

PATIENCE = 3600.0  # seconds for everything of every tenant


class Folds(Protocol):
    """What ledgers sum to, as CSV. Raises LedgerUnreachable."""

    def all(self) -> AsyncIterator[bytes]: ...

    def between(self, tenants: Sequence[Apart]) -> AsyncIterator[bytes]:
        """From the lower to the higher of the two entries each."""
        ...


class UploadFolds:
    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def all(self) -> AsyncIterator[bytes]:
        return self._ask(None)

    def between(self, tenants: Sequence[Apart]) -> AsyncIterator[bytes]:
        return self._ask([[str(a.tenant_id), min(a.folded, a.counted), max(a.folded, a.counted)] for a in tenants])

    async def _ask(self, stretches: list[list[str | int]] | None) -> AsyncIterator[bytes]:
        body = {"stretches": stretches}
        try:
            async for chunk in self._client.stream("POST", "/internal/ledger/folds", json=body, timeout=PATIENCE):
                yield chunk
        except UpstreamError as error:
            raise LedgerUnreachable from error
