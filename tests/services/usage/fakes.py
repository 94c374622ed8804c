"""The neighbours, as far as usage needs them."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from uuid import UUID

from services.usage.entitlements.rules import Terms
from services.usage.errors import EntitlementsUnknown, LedgerUnreachable
from services.usage.proof.provider import LedgerPart, LedgerPast, LedgerProof, StoreAmount
from services.usage.rebuild.shadow import Apart
from shared.events import FileDeleted, FileStored
from shared.kafka.records import Record


class FakeBilling:
    """Answers `terms`, or nothing."""

    def __init__(self, terms: Terms | None = None) -> None:
        self.terms = terms
        self.asked = 0
        self.others: dict[str, int] = {}  # limits of anything but storage

    async def get(self, tenant: UUID) -> Terms:  # noqa: ARG002
        self.asked += 1
        if self.terms is None:
            raise EntitlementsUnknown
        return self.terms


class FakeFolds:
    """Sums of the `entries` there are, of files that came and went."""

    def __init__(self) -> None:
        self.entries: list[Record] = []
        self.reachable = True

    def all(self) -> AsyncIterator[bytes]:
        return self._answer([Apart(tenant, 0, 2**62) for tenant in {entry.tenant_id for entry in self.entries}])

    def between(self, tenants: Sequence[Apart]) -> AsyncIterator[bytes]:
        return self._answer(tenants)

    async def _answer(self, tenants: Sequence[Apart]) -> AsyncIterator[bytes]:
        if not self.reachable:
            raise LedgerUnreachable
        for tenant, folded, counted in tenants:
            for entry in self.entries:
                file = entry.event
                wanted = entry.tenant_id == tenant and min(folded, counted) < entry.seq <= max(folded, counted)
                if wanted and isinstance(file, FileStored | FileDeleted):
                    sign = 1 if isinstance(file, FileStored) else -1
                    whose = (file.file_type, file.category, file.project_id or "", file.uploaded_by or "")
                    line = (tenant, entry.seq, *whose, sign * file.size, sign, 0, 0, 0, 0, "", 0)
                    yield (",".join(map(str, line)) + "\n").encode()


class FakeLedger:
    """Holds one file of 10 bytes an entry, all images; the store stands at `head`, or wherever it is asked."""

    def __init__(self, *, head: int | None = None, lost: int = 0, recount: int = 0) -> None:
        self.head = head
        self.lost = lost
        self.recount = recount
        self.reachable = True
        self.asked: list[int] = []
        self.entries: list[Record] = []  # what the gap fetch finds

    async def prove(self, tenant: UUID, position: int) -> LedgerProof:  # noqa: ARG002
        if not self.reachable:
            raise LedgerUnreachable
        self.asked.append(position)
        files = position - self.recount
        there = position - self.lost
        return LedgerProof(
            position=position,
            head_hash="ab" * 32,
            bytes=10 * files,
            files=files,
            by_category=[LedgerPart(file_type="image", category="avatars", bytes=10 * files, files=files)],
            store=StoreAmount(
                bytes=10 * there,
                files=there,
                missing=[f"file-{n}" for n in range(self.lost)],
                orphans_bytes=0,
                checked_at_position=position if self.head is None else self.head,
            ),
        )

    async def look_back(self, tenant: UUID, time: datetime) -> LedgerPast:
        """An entry a second since 1970."""
        if not self.reachable:
            raise LedgerUnreachable
        found = await self.prove(tenant, int(time.timestamp()))
        return LedgerPast(time=time, **found.model_dump(exclude={"store"}))
