"""A file's name, place and metadata change; its bytes follow where its path says so."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from services.upload.errors import FileNotFound, PreconditionFailed
from services.upload.files.copying import CopyService
from services.upload.files.models import StoredFile
from services.upload.files.placing import changed_values, changes_path, placed
from services.upload.files.ranges import lists
from services.upload.files.rules import Tree, revision
from services.upload.files.service import BytesGone, FileService
from services.upload.intake.acceptance import Sender
from services.upload.quota.changes import Change, Condition
from services.upload.quota.rules import Alter
from services.upload.quota.service import AccountService
from shared.ids import new_id

ATTEMPTS = 5


class MoveService:
    def __init__(self, files: FileService, copies: CopyService, accounts: AccountService, tree: Tree) -> None:
        self._files = files
        self._copies = copies
        self._accounts = accounts
        self._tree = tree

    async def move(
        self, sender: Sender, file_id: UUID, said: Mapping[str, Any], if_match: str | None = None
    ) -> StoredFile:
        """`said` is what is to change. Raises FileNotFound, PreconditionFailed, InvalidUpload.

        The bytes are copied first; the commit that gives the file its new path makes the old one garbage. Whoever
        changed the file in between makes it begin again, unless `if_match` forbids that.
        """
        for _ in range(ATTEMPTS):
            file = await self._files.get_live(sender.tenant, file_id)
            if if_match is not None and not lists(if_match, file.etag, weak=False):
                raise PreconditionFailed
            if await self._try(sender, file, said, exact=if_match is not None):
                return await self._files.get(sender.tenant, file_id)
        raise PreconditionFailed

    async def _try(self, sender: Sender, file: StoredFile, said: Mapping[str, Any], *, exact: bool) -> bool:
        placement = placed(self._tree, file, said)
        values = changed_values(file, placement)
        if changes_path(file, placement):
            # A path is used once: the sweep may be about to remove the one before the last.
            values["path"] = placement.path(sender.tenant, new_id())
            try:
                await self._copies.duplicate(file, file.location, values["path"])
            except BytesGone:
                return False
        condition = _same_revision(file) if exact else _same_path(file)
        change = Change(Alter(file.id), values=values, condition=condition, metadata=placement.metadata, by=sender.user)
        result = await self._accounts.submit(sender.tenant, change)
        if not result.ok and "path" in values:
            await self._copies.discard(sender.tenant, file.location, values["path"])
        if result.missing:
            raise FileNotFound
        return result.ok


def _same_revision(file: StoredFile) -> Condition:
    etag = file.etag
    return lambda row: revision(row) == etag


def _same_path(file: StoredFile) -> Condition:
    path = file.path
    return lambda row: bool(row["path"] == path)
