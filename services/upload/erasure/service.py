"""Asking for a tenant's erasure, and its certificate."""

from typing import Any
from uuid import UUID

from services.upload.erasure import repository
from services.upload.quota.service import AccountService
from shared.db import Database
from shared.errors import DomainError
from shared.security import signatures


class ErasureService:
    """`secrets`: all of them are believed."""

    def __init__(self, database: Database, accounts: AccountService, secrets: list[str]) -> None:
        self._database = database
        self._accounts = accounts
        self._secrets = secrets

    async def request(self, tenant: UUID, by: UUID | None) -> Any:
        """Closes the account at once; the rest is a job's. Raises EntitlementsUnknown."""
        await self._accounts.state(tenant)  # one that never stored anything is certified, too
        async with self._database.transaction(tenant) as connection:
            return await repository.request(connection, tenant, by)

    async def get(self, tenant: UUID) -> Any:
        """Raises DomainError 404 `erasure_not_found`."""
        async with self._database.transaction(tenant) as connection:
            found = await repository.find(connection, tenant)
        if found is None:
            raise DomainError("erasure_not_found", 404, "Nobody asked for that tenant's erasure.")
        return found

    def is_ours(self, certificate: str, signature: str) -> bool:
        """Whether we signed it."""
        return signatures.matches(signature, self._secrets, "erasure", certificate)
