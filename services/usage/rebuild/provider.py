from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from services.usage.errors import LedgerUnreachable, RebuildRunning
from services.usage.rebuild.shadow import Apart
from shared.errors import UpstreamError
from shared.http import ServiceClient

PATIENCE = 3600.0  # seconds for everything of every tenant
LISTING = 60.0  # seconds for one tenant, whose objects are listed


class Folds(Protocol):
    """What ledgers sum to, as CSV. Raises LedgerUnreachable."""

    def all(self) -> AsyncIterator[bytes]: ...

    def between(self, tenants: Sequence[Apart]) -> AsyncIterator[bytes]:
        """From the lower to the higher of the two entries each."""
        ...


class Books(BaseModel):
    """What upload found when it compared its ledger, account, files and store at entry `position`."""

    model_config = ConfigDict(extra="allow")

    position: int
    differences: list[dict[str, Any]]
    repaired: list[dict[str, Any]]


class Reconciler(Protocol):
    """Raises LedgerUnreachable, and what upload refuses."""

    async def reconcile(self, tenant: UUID, *, repair: bool) -> Books: ...


class UploadReconciler:
    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    async def reconcile(self, tenant: UUID, *, repair: bool) -> Books:
        path = f"/internal/reconciliation/{tenant}?repair={str(repair).lower()}"
        try:
            return Books.model_validate(await self._client.request_json("POST", path, timeout=LISTING))
        except UpstreamError as error:
            if error.code == "reconciliation_running":
                raise RebuildRunning from error
            raise LedgerUnreachable from error
        except ValidationError as error:
            raise LedgerUnreachable from error


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
