"""Passwords of links: slow to try, limited in how often, remembered once right."""

import asyncio
import hashlib
import os
import time
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from services.upload.links import repository
from shared.db import Database
from shared.http import Problem

REMEMBERED = 600  # seconds a right password needs no second look: a film is read in many pieces
CAPACITY = 10_000


class PasswordWanted(Problem):
    """401, in the words that browsers and curl answer to."""

    def __init__(self) -> None:
        headers = {"www-authenticate": 'Basic realm="This link", charset="UTF-8"'}
        super().__init__(401, "link_password_required", "The link has a password.", headers=headers)


class Locked(Problem):
    def __init__(self) -> None:
        headers = {"retry-after": str(repository.LOCKED)}
        super().__init__(429, "link_locked", "Too many wrong passwords; try again later.", headers=headers)


class LinkPasswords:
    def __init__(self, database: Database) -> None:
        self._database = database
        # OWASP's smallest: 19 MiB, two rounds. Two at a time, so that guessing costs us little memory.
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
        self._free = asyncio.Semaphore(2)
        self._key = os.urandom(32)
        self._right: dict[bytes, float] = {}  # what was right, and until when it is remembered

    async def hash(self, password: str) -> str:
        async with self._free:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def check(self, tenant: UUID, link: UUID, hashed: str, given: str | None) -> None:
        """Raises PasswordWanted, Locked."""
        if given is None:
            raise PasswordWanted
        # The hash is part of it: what another link or another password was right for says nothing here.
        seen = hashlib.blake2b(f"{link} {hashed} {given}".encode("utf-8", "replace"), key=self._key).digest()
        if self._right.get(seen, 0) > time.monotonic():
            return
        async with self._database.transaction(tenant) as connection:
            if not await repository.attempt_password(connection, link):
                raise Locked
        if not await self._verify(hashed, given):
            raise PasswordWanted
        async with self._database.transaction(tenant) as connection:
            await repository.pass_password(connection, link)
        if len(self._right) >= CAPACITY:
            self._right.clear()
        self._right[seen] = time.monotonic() + REMEMBERED

    async def _verify(self, hashed: str, given: str) -> bool:
        async with self._free:
            try:
                return await asyncio.to_thread(self._hasher.verify, hashed, given)
            except VerificationError:
                return False
