"""The last steps of every way in: what the file is, whether it may stay, and its entry in the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from services.upload.blobs.digest import Digest
from services.upload.entitlements.terms import Terms
from services.upload.errors import DigestMismatch, PreconditionFailed
from services.upload.intake.placement import Placement
from services.upload.intake.policy import Policy
from services.upload.media import rules as media
from services.upload.media.claims import check_claims
from services.upload.quota.changes import Change, Condition, FileState
from services.upload.quota.rules import Settle, State
from services.upload.quota.service import AccountService
from shared.clock import Clock
from shared.events import FileEvent, FileStored


@dataclass(frozen=True, slots=True)
class Sender:
    tenant: UUID
    user: UUID | None


@dataclass(frozen=True, slots=True)
class Purpose:
    """How a file is to be settled: `replaces` that file, `exclusive`: whatever file has its place by then, which has
    to fulfil the `condition`; `vacant`: none may have it.

    `key` makes repeats harmless; `sha256`, in hex, is what the sender says it is. `takes`: uploads whose space it takes
    over. `month`: it is one of that month's images. `force`: it counts even above the limit.
    """

    key: str | None = None
    replaces: UUID | None = None
    exclusive: bool = False
    vacant: bool = False
    condition: Condition | None = None
    sha256: str | None = None
    takes: tuple[UUID, ...] = ()
    month: date | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """`event` is what the ledger says of the file, `account` the account right after it."""

    event: FileEvent
    metadata: dict[str, Any]
    account: State
    state: FileState


@dataclass(frozen=True, slots=True)
class Repeated:
    """The idempotency key has already stored that file."""

    file_id: UUID


class Refused(Exception):
    """It does not fit, or not any more."""

    def __init__(self, account: State) -> None:
        super().__init__()
        self.account = account


class Acceptance:
    def __init__(self, accounts: AccountService, policy: Policy, clock: Clock) -> None:
        self._accounts = accounts
        self._policy = policy
        self._clock = clock

    def describe(
        self, sender: Sender, terms: Terms, upload: UUID, placement: Placement, path: str, digest: Digest
    ) -> FileStored:
        """Raises TypeNotAllowed, TypeMismatch."""
        kind = media.media_type(digest.head, placement.declared, placement.name)
        check_claims(digest.head, kind, media.clean(placement.declared), placement.name)
        media.check_type(kind, self._policy.allowed)
        if terms.allowed is not None:
            media.check_type(kind, terms.allowed or frozenset({"nothing/at-all"}))
        return FileStored(
            tenant_id=sender.tenant,
            file_id=upload,
            path=path,
            name=placement.name,
            size=digest.size,
            content_type=kind,
            file_type=media.file_type(kind),
            category=placement.category,
            subcategory=placement.subcategory,
            entity_id=placement.entity_id,
            folder=placement.folder,
            project_id=placement.project_id,
            sha256=digest.sha256,
            uploaded_by=sender.user,
            stored_at=self._clock.now(),
        )

    async def settle(
        self, file: FileStored, metadata: dict[str, Any], purpose: Purpose, location: str, tasks: Sequence[str] = ()
    ) -> Stored | Repeated:
        """The reservation of the same id becomes the file. Raises DigestMismatch, PreconditionFailed,
        Refused; then its bytes must go.
        """
        if purpose.sha256 is not None and purpose.sha256 != file.sha256:
            raise DigestMismatch
        state: FileState = "scanning" if self._policy.scans else "ready"
        change = Change(
            Settle(file.file_id, file.size, month=purpose.month, force=purpose.force),
            file=file,
            metadata=metadata,
            location=location,
            state=state,
            tasks=(*tasks, *self._tasks(file)),
            idempotency_key=purpose.key,
            replaces=purpose.replaces,
            exclusive=purpose.exclusive,
            vacant=purpose.vacant,
            condition=purpose.condition,
            takes=purpose.takes,
        )
        result = await self._accounts.submit(file.tenant_id, change)
        if result.unmet:
            raise PreconditionFailed
        if not result.ok:
            raise Refused(result.state)
        if result.existing is not None:
            return Repeated(result.existing)
        return Stored(result.event or file, metadata, result.state, state)

    def _tasks(self, file: FileStored) -> tuple[str, ...]:
        """What is done with the file afterwards. A file that is to be scanned is looked at when it is clean."""
        if self._policy.scans:
            return ("scan",)
        return ("image",) if file.file_type == "image" else ()
