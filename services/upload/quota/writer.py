"""All changes of a tenant's account go through here, many in one commit."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from services.upload.quota.changes import Change, Result
from services.upload.quota.repository import commit_batch
from shared.db import Database, GroupCommit


class AccountWriter(GroupCommit[Change, Result]):
    """`submit` returns what became of one change once it is committed. Raises TenantUnknown, too."""

    def __init__(self, database: Database, *, on_commit: Callable[[], object]) -> None:
        super().__init__(database, _commit, on_commit=on_commit)


async def _commit(connection: Any, tenant: UUID, changes: list[Change]) -> list[Result]:
    return await commit_batch(connection, tenant, changes)
