"""An upload from its first header to its ledger entry: reserve, stream, place, settle. Nothing half-done is left."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from services.upload.blobs.store import BlobStore, BlobWriter, Written
from services.upload.errors import FileTooLarge, InvalidUpload, QuotaExceeded, ReservationLost
from services.upload.files import rules
from services.upload.files.multipart import ENVELOPE, FilePart, UploadForm
from services.upload.quota.repository import Result
from services.upload.quota.rules import State
from services.upload.quota.service import AccountService, quota_of
from shared import faults
from shared.clock import Clock
from shared.events import FileStored
from shared.http import ClientGone
from shared.ids import new_id

log = logging.getLogger(__name__)

STEP = 1024 * 1024  # bytes asked for beyond those in hand, when the size is unknown


@dataclass(frozen=True, slots=True)
class Sender:
    tenant: UUID
    user: UUID | None


@dataclass(frozen=True, slots=True)
class Announced:
    """What the request's headers say of the body: its length, the file's size, its form, and a key for repeats."""

    length: int | None
    file_size: int | None
    content_type: str | None
    idempotency_key: str | None


@dataclass(frozen=True, slots=True)
class Stored:
    file: FileStored
    metadata: dict[str, Any]
    state: State


@dataclass(frozen=True, slots=True)
class Repeated:
    """The idempotency key has already stored that file."""

    file_id: UUID


@dataclass(frozen=True, slots=True)
class Policy:
    tree: rules.Tree
    allowed: frozenset[str]
    max_file_size: int
    lifetime: timedelta
    upgrade_url: str


class Intake:
    """Takes uploads. `begin` decides on the headers alone, so that a refusal costs no byte of the body."""

    def __init__(self, accounts: AccountService, store: BlobStore, policy: Policy, clock: Clock) -> None:
        self._accounts = accounts
        self._store = store
        self._policy = policy
        self._clock = clock

    async def begin(self, sender: Sender, announced: Announced) -> "Upload":
        """Raises FileTooLarge, QuotaExceeded, InvalidUpload, EntitlementsUnknown."""
        form = UploadForm(announced.content_type)
        least = announced.file_size
        if least is None:
            # No form is that much larger than its file, so this much will come at the very least.
            least = max(0, (announced.length or 0) - ENVELOPE)
        limit = await self._accounts.max_file_size(sender.tenant, self._policy.max_file_size, at_least=least)
        if least > limit:
            raise FileTooLarge(limit)
        upload = Upload(self._accounts, self._store, self._policy, self._clock, sender, announced, form, limit)
        await upload.reserve(least)
        faults.reach("upload.reserved")
        return upload


class Upload:
    """One upload under way. `receive` ends in a stored file or leaves nothing."""

    def __init__(
        self,
        accounts: AccountService,
        store: BlobStore,
        policy: Policy,
        clock: Clock,
        sender: Sender,
        announced: Announced,
        form: UploadForm,
        limit: int,
    ) -> None:
        self.id = new_id()
        self._accounts = accounts
        self._store = store
        self._policy = policy
        self._clock = clock
        self._sender = sender
        self._announced = announced
        self._form = form
        self._limit = limit
        self._reserved = 0
        self._received = 0
        self._told = 0.0  # when the reservation's life was last prolonged

    async def reserve(self, size: int) -> None:
        result = await self._hold(size)
        if not result.ok:
            raise QuotaExceeded(quota_of(result.state), size, self._policy.upgrade_url)

    async def receive(self, body: AsyncIterator[bytes]) -> Stored | Repeated:
        """Raises what `begin` raises, ClientGone, RequestTimeout, TypeNotAllowed, ReservationLost."""
        writer = self._store.create(self.id)
        settled = False
        try:
            await self._stream(body, writer)
            file, metadata = await self._place(writer)
            result = await self._settle(file, metadata)
            if result.existing is not None:
                return Repeated(result.existing)
            settled = True
            faults.reach("upload.settled")
            return Stored(file, metadata, result.state)
        finally:
            if not settled:
                # Also when this task is cancelled: what was begun is undone before anything else.
                await asyncio.shield(asyncio.ensure_future(self._undo(writer)))

    async def _stream(self, body: AsyncIterator[bytes], writer: BlobWriter) -> None:
        async for chunk in body:
            for piece in self._form.feed(chunk):
                self._received += len(piece)
                if self._received > self._limit:
                    raise FileTooLarge(self._limit)
                if self._received > self._reserved:
                    await self._grow()
                await writer.write(piece)
                faults.reach("upload.streaming")
            await self._prolong()
        if not self._form.complete:
            raise ClientGone
        if self._form.file is None:
            raise InvalidUpload("no_file", "The form has no file.")

    async def _grow(self) -> None:
        """More came than was announced: first ask for all that may come, then for exactly what is in hand."""
        likely = self._received + STEP
        if self._announced.length is not None:
            likely = self._announced.length - self._form.file_starts - self._form.closing
        likely = min(max(likely, self._received), self._limit)
        if (await self._hold(likely)).ok:
            return
        await self.reserve(self._received)

    async def _prolong(self) -> None:
        """A slow upload's reservation lives as long as bytes come."""
        now = asyncio.get_running_loop().time()
        if now - self._told > self._policy.lifetime.total_seconds() / 3:
            await self._hold(self._reserved)

    async def _hold(self, size: int) -> Result:
        result = await self._accounts.hold(self._sender.tenant, self.id, size, self._policy.lifetime)
        if result.ok:
            self._reserved = max(size, self._reserved)
            self._told = asyncio.get_running_loop().time()
        return result

    async def _place(self, writer: BlobWriter) -> tuple[FileStored, dict[str, Any]]:
        part = self._form.file
        assert part is not None  # noqa: S101 - _stream saw to it
        written = await writer.finish()
        file, metadata = self._describe(part, written)
        await writer.place(file.path)
        faults.reach("upload.placed")
        return file, metadata

    def _describe(self, part: FilePart, written: Written) -> tuple[FileStored, dict[str, Any]]:
        form = self._form
        name = rules.check_name(part.name)
        category, subcategory, entity = form.text("category") or "", form.text("subcategory"), form.text("entity_id")
        rules.check_place(self._policy.tree, category, subcategory, entity)
        media = rules.media_type(written.head, part.content_type)
        rules.check_type(media, self._policy.allowed)
        file = FileStored(
            tenant_id=self._sender.tenant,
            file_id=self.id,
            path=rules.storage_path(self._sender.tenant, self.id, name, category, subcategory, entity),
            name=name,
            size=written.size,
            content_type=media,
            file_type=rules.file_type(media),
            category=category,
            subcategory=subcategory,
            entity_id=entity,
            project_id=_project(form.text("project_id")),
            sha256=written.sha256,
            uploaded_by=self._sender.user,
            stored_at=self._clock.now(),
        )
        return file, _metadata(form.text("metadata"))

    async def _settle(self, file: FileStored, metadata: dict[str, Any]) -> Result:
        result = await self._accounts.settle(file, metadata, self._announced.idempotency_key)
        if not result.ok:
            raise ReservationLost
        return result

    async def _undo(self, writer: BlobWriter) -> None:
        try:
            await writer.abort()
        finally:
            await self._accounts.release(self._sender.tenant, self.id)


def _project(text: str | None) -> UUID | None:
    try:
        return None if text is None else UUID(text)
    except ValueError:
        raise InvalidUpload("invalid_project_id", "A project id is a UUID.") from None


def _metadata(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or "\\u0000" in text:
        raise InvalidUpload("invalid_metadata", "Metadata is a JSON object.")
    return found
