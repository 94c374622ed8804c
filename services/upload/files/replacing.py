"""Other bytes for a file that keeps its id, name and place."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from services.upload.errors import FileNotFound, PreconditionFailed
from services.upload.files.copying import CopyService
from services.upload.files.models import StoredFile
from services.upload.files.placing import placed
from services.upload.files.ranges import lists
from services.upload.files.rules import check_uncounted
from services.upload.files.service import BytesGone, FileService
from services.upload.intake.acceptance import Purpose, Repeated, Sender, Stored
from services.upload.intake.incoming import Incoming
from services.upload.intake.intake import Asked, Intake
from services.upload.intake.placement import Placement
from services.upload.intake.stripped import Stripped, check_strippable
from services.upload.quota.changes import Condition
from shared.http import ClientGone

ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Announced:
    """What the headers say of the body. `if_match` names the bytes it may take the place of; `sha256` in hex.
    `strip_location`: take out of a photo where it was taken.
    """

    length: int | None
    content_type: str | None
    if_match: str | None
    sha256: str | None
    strip_location: bool = False


class ReplaceService:
    def __init__(self, files: FileService, intake: Intake, copies: CopyService) -> None:
        self._files = files
        self._intake = intake
        self._copies = copies

    async def begin(self, sender: Sender, file_id: UUID, announced: Announced) -> "Replacement":
        """On the headers alone. Raises FileNotFound, PreconditionFailed, FileTooLarge, QuotaExceeded; and InvalidUpload
        for an image, whose new bytes would be another one.
        """
        file = await self._files.get_live(sender.tenant, file_id)
        check_uncounted(file.category)
        if announced.if_match is not None and not lists(announced.if_match, f'"{file.sha256}"', weak=False):
            raise PreconditionFailed
        least, credit = announced.length or 0, await self._intake.credit(sender.tenant, file.size)
        if announced.strip_location:
            check_strippable(least)
        incoming = await self._intake.begin(sender, Asked(least, announced.length, credit))
        placement = placed(self._intake.policy.tree, file, {})
        condition = _still_there(file, announced.if_match)
        purpose = Purpose(replaces=file.id, condition=condition, sha256=announced.sha256)
        placement = replace(placement, declared=announced.content_type)
        taking = Stripped(incoming, self._intake.spool) if announced.strip_location else incoming
        return Replacement(taking, placement, purpose, announced.length)

    async def restore_version(self, sender: Sender, file_id: UUID, version: UUID) -> None:
        """The file gets an older version's bytes, by a copy. Raises FileNotFound, QuotaExceeded."""
        for _ in range(ATTEMPTS):
            file = await self._files.get_live(sender.tenant, file_id)
            source = await self._files.get_version(sender.tenant, file_id, version)
            placement = placed(self._intake.policy.tree, file, {"metadata": source.details})
            purpose = Purpose(replaces=file.id, condition=_still_there(file, None))
            credit = await self._intake.credit(sender.tenant, file.size, scanned=False)
            try:
                await self._copies.copy(sender, source, placement, purpose, credit)
            except BytesGone:
                continue
            return
        raise FileNotFound


class Replacement:
    """`receive` ends in the file with its new bytes, or changes nothing."""

    def __init__(
        self, incoming: Incoming | Stripped, placement: Placement, purpose: Purpose, length: int | None
    ) -> None:
        self._incoming = incoming
        self._placement = placement
        self._purpose = purpose
        self._length = length

    async def receive(self, body: AsyncIterator[bytes]) -> Stored | Repeated:
        """Raises ClientGone, RequestTimeout, QuotaExceeded, FileTooLarge, TypeNotAllowed, PreconditionFailed."""
        result: Stored | Repeated | None = None
        try:
            async for chunk in body:
                await self._incoming.write(chunk, self._length)
                await self._incoming.space.prolong()
            if self._length is not None and self._incoming.received != self._length:
                raise ClientGone
            result = await self._incoming.store(self._placement, self._purpose)
            return result
        finally:
            if not isinstance(result, Stored):
                await asyncio.shield(asyncio.ensure_future(self._incoming.abandon()))


def _still_there(file: StoredFile, if_match: str | None) -> Condition:
    """Its place as it was read, for the new bytes are stored there; and, if somebody cares, its bytes."""
    place = (file.category, file.subcategory, file.entity_id, file.folder, file.name)
    columns = ("category", "subcategory", "entity_id", "folder", "name")
    sha256 = None if if_match is None else file.sha256

    def holds(row: Mapping[str, Any]) -> bool:
        same = tuple(row[column] for column in columns) == place and row["trashed_at"] is None
        return same and row["version_of"] is None and sha256 in {None, row["sha256"]}

    return holds
