from typing import Any
from uuid import UUID

from services.usage.errors import NotTheManager
from services.usage.users.repository import UserRepository
from services.usage.users.schemas import UsersOut, UserUsageOut
from shared.db import Database
from shared.errors import DomainError
from shared.http import PageRequest, encode_cursor
from shared.security import Principal

NOBODY = UUID(int=0)  # in place of a person: what nobody known has uploaded


class UserReader:
    """Who has uploaded how much. Owners and admins see everybody, others themselves."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_users(self, tenant: UUID, who: Principal, page: PageRequest) -> UsersOut:
        """The largest first. Raises NotTheManager, DomainError `invalid_cursor`."""
        if not who.manages and who.user_id is None:
            raise NotTheManager
        only = None if who.manages else who.user_id
        after = None if page.cursor is None else _key(page.cursor)
        async with self._database.transaction(tenant) as connection:
            found = await UserRepository(connection).find_page(tenant, NOBODY, only, after, page.limit + 1)
        rows = found["items"]
        more = len(rows) > page.limit and rows[page.limit - 1]
        return UsersOut(
            items=[_item(row, found["bytes"]) for row in rows[: page.limit]],
            next_cursor=encode_cursor(more["bytes"], more["user_id"]) if more else None,
            **{name: value for name, value in found.items() if name != "items"},
        )


def _item(row: dict[str, Any], total: int) -> UserUsageOut:
    user = None if UUID(row["user_id"]) == NOBODY else row["user_id"]
    return UserUsageOut.of({**row, "user_id": user}, total)


def _key(cursor: list[Any]) -> tuple[int, UUID]:
    try:
        size, user = cursor
        if not -(2**63) <= int(size) < 2**63:
            raise ValueError(size)
        return int(size), UUID(user)
    except (ValueError, TypeError, AttributeError) as error:
        raise DomainError("invalid_cursor", 422, "The cursor is not one of ours.") from error
