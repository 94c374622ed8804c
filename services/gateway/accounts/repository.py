"""All SQL on people and profiles. Runs inside the caller's transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.gateway.accounts.models import Account
from services.gateway.tenants.repository import TenantRepository

_ACCOUNT = """
    SELECT p.id, p.email, f.name, f.locale, f.is_admin
    FROM person AS p JOIN profile AS f ON f.user_id = p.id WHERE p.id = $1
"""

_HOME = """
    SELECT tenant_id FROM membership WHERE user_id = $1 AND role = 'owner' ORDER BY created_at, tenant_id LIMIT 1
"""

_OWNED = "SELECT count(*) FROM membership WHERE user_id = $1 AND role = 'owner'"


class AccountRepository:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def insert(self, user: UUID, email: str, password_hash: str, at: datetime) -> bool:
        """False when the address is taken."""
        found = await self._connection.fetchval(
            "INSERT INTO person VALUES ($1, $2, $3, $4) ON CONFLICT (email) DO NOTHING RETURNING id",
            user,
            email,
            password_hash,
            at,
        )
        return found is not None

    async def insert_profile(self, user: UUID, name: str, locale: str, at: datetime) -> None:
        await self._connection.execute(
            "INSERT INTO profile (user_id, name, locale, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)",
            user,
            name,
            locale,
            at,
        )

    async def update_profile(self, user: UUID, name: str | None, locale: str | None, at: datetime) -> None:
        """None leaves a field as it is."""
        await self._connection.execute(
            "UPDATE profile SET name = coalesce($2, name), locale = coalesce($3, locale), updated_at = $4 "
            "WHERE user_id = $1",
            user,
            name,
            locale,
            at,
        )

    async def find_password(self, email: str) -> tuple[UUID, str] | None:
        """The person's id and password hash."""
        row = await self._connection.fetchrow("SELECT id, password_hash FROM person WHERE email = $1", email)
        return None if row is None else (row["id"], row["password_hash"])

    async def find_id(self, email: str) -> UUID | None:
        found: UUID | None = await self._connection.fetchval("SELECT id FROM person WHERE email = $1", email)
        return found

    async def find_home(self, user: UUID) -> UUID | None:
        """The first tenant of their own."""
        await self._as(user)
        found: UUID | None = await self._connection.fetchval(_HOME, user)
        return found

    async def lock_owned(self, user: UUID) -> int:
        """How many tenants are their own, which stays so until the commit."""
        await self._as(user)
        await self._connection.execute("SELECT FROM person WHERE id = $1 FOR NO KEY UPDATE", user)
        return int(await self._connection.fetchval(_OWNED, user))

    async def list_names(self, users: Sequence[UUID]) -> dict[UUID, str]:
        """Of those that are known."""
        rows = await self._connection.fetch("SELECT user_id, name FROM profile WHERE user_id = ANY($1::uuid[])", users)
        return {row["user_id"]: row["name"] for row in rows}

    async def find(self, user: UUID) -> Account | None:
        """With the tenants, which only the person sees: the transaction is scoped to them here."""
        await self._as(user)
        row = await self._connection.fetchrow(_ACCOUNT, user)
        if row is None:
            return None
        memberships = await TenantRepository(self._connection).list_of(user)
        return Account(row["id"], row["email"], row["name"], row["locale"], row["is_admin"], tuple(memberships))

    async def _as(self, user: UUID) -> None:
        """Which tenants somebody belongs to is seen by themselves only."""
        await self._connection.execute("SELECT set_config('app.user_id', $1, true)", str(user))
