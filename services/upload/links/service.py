"""Links that carry their own permission: whoever has one may read one file until it expires or is revoked."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from services.upload.errors import FileNotFound, LinkNotFound, LinkRefused
from services.upload.files.content import Answer
from services.upload.files.models import StoredFile
from services.upload.links import repository, rules
from services.upload.links.models import FileLink
from services.upload.links.passwords import LinkPasswords
from services.upload.links.rules import Ticket
from shared.clock import Clock
from shared.db import Database
from shared.http import read_position
from shared.ids import new_id

log = logging.getLogger(__name__)

LONGEST = 604_800  # seconds, 7 days


@dataclass(frozen=True, slots=True)
class Link:
    id: UUID
    url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a link is to be like. `expires_in` in seconds."""

    expires_in: int
    password: str | None = None
    max_uses: int | None = None
    disposition: str = "attachment"


class LinkService:
    """`secrets`: the first signs, all of them are believed."""

    def __init__(self, database: Database, base_url: str, secrets: list[str], clock: Clock) -> None:
        self._database = database
        self._base = base_url.rstrip("/")
        self._secrets = secrets
        self._clock = clock
        self._passwords = LinkPasswords(database)
        self._writing: set[asyncio.Task[None]] = set()

    def make(self, tenant: UUID, file_id: UUID, expires_in: int) -> Link:
        """One without a row; it can be revoked by its id all the same."""
        expires = int((self._clock.now() + timedelta(seconds=expires_in)).timestamp())
        return self._link(Ticket(tenant, file_id, rules.new_rowless(self._secrets[0], tenant), expires))

    async def create(self, tenant: UUID, file_id: UUID, wanted: Wanted, by: UUID | None) -> FileLink:
        """The caller has seen the file. Raises FileNotFound when it goes this moment."""
        now = self._clock.now()
        expires = datetime.fromtimestamp(int((now + timedelta(seconds=wanted.expires_in)).timestamp()), UTC)
        link = FileLink(
            id=new_id(),
            tenant_id=tenant,
            file_id=file_id,
            kept=True,
            disposition=wanted.disposition,
            password_hash=None if wanted.password is None else await self._passwords.hash(wanted.password),
            max_uses=wanted.max_uses,
            created_by=by,
            created_at=now,
            expires_at=expires,
        )
        try:
            async with self._database.transaction(tenant) as connection:
                await repository.insert(connection, link)
        except asyncpg.ForeignKeyViolationError:
            raise FileNotFound from None
        return link

    def url_of(self, link: FileLink) -> str | None:
        """None for one whose address was only ever in its holder's hands."""
        if not link.kept or link.file_id is None:
            return None
        return self._link(Ticket(link.tenant_id, link.file_id, link.id, int(link.expires_at.timestamp()))).url

    async def list_newest(
        self, tenant: UUID, limit: int, cursor: list[Any] | None, file: UUID | None
    ) -> list[FileLink]:
        async with self._database.transaction(tenant) as connection:
            return await repository.list_newest(connection, limit, read_position(cursor), file)

    async def revoke(self, tenant: UUID, link: UUID) -> None:
        """From the next request on it opens nothing. Raises LinkNotFound."""
        now = self._clock.now()
        async with self._database.transaction(tenant) as connection:
            if await repository.revoke(connection, link, now):
                return
            if not rules.is_rowless(link, self._secrets, tenant):
                raise LinkNotFound
            await repository.revoke_rowless(connection, link, tenant, now + timedelta(seconds=LONGEST), now)

    async def open(self, ticket: Ticket, signature: str, password: str | None) -> FileLink | None:
        """The link's row, if it has one. Raises LinkRefused, PasswordWanted, Locked, and FileNotFound.

        The signature first: only who holds a real link may learn that it has expired.
        """
        if not ticket.matches(signature, self._secrets):
            raise LinkRefused("link_invalid")
        if self._clock.now().timestamp() >= ticket.expires:
            raise LinkRefused("link_expired")
        async with self._database.transaction(ticket.tenant) as connection:
            link = await repository.find(connection, ticket.link)
        if link is None and ticket.kept:
            raise FileNotFound  # it went with its file
        if link is not None and link.revoked_at is not None:
            raise LinkRefused("link_revoked")
        if link is not None and link.password_hash is not None:
            await self._passwords.check(ticket.tenant, ticket.link, link.password_hash, password)
        return link

    async def admit(self, ticket: Ticket, file: StoredFile, answer: Answer) -> Callable[[int], None]:
        """Counts the use; what is returned books the bytes sent. Raises LinkRefused `link_exhausted`, `link_revoked`.

        A request from the first byte on is a use. One from further on continues an earlier use as long as the uses
        pay for it, each with the file's bytes once; beyond that it is a use too.
        """
        continues = await self._count(ticket, file, answer) if ticket.kept else False

        def book(sent: int) -> None:
            given_back = answer.length - sent if continues else 0
            task = asyncio.create_task(self._book(ticket, sent, given_back))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

        return book

    async def close(self) -> None:
        """Waits for what is still to be booked."""
        await asyncio.gather(*self._writing)

    async def _count(self, ticket: Ticket, file: StoredFile, answer: Answer) -> bool:
        """True when it continued an earlier use."""
        async with self._database.transaction(ticket.tenant) as connection:
            if answer.starts and await repository.continue_use(connection, ticket.link, answer.length, file.size):
                return True
            if await repository.use(connection, ticket.link):
                return False
            link = await repository.find(connection, ticket.link)
        raise LinkRefused("link_exhausted" if link is not None and link.revoked_at is None else "link_revoked")

    async def _book(self, ticket: Ticket, sent: int, given_back: int) -> None:
        until = datetime.fromtimestamp(ticket.expires, UTC)
        try:
            async with self._database.transaction(ticket.tenant) as connection:
                await repository.add_sent(connection, ticket.tenant, ticket.link, ticket.file, until, sent, given_back)
        except asyncpg.ForeignKeyViolationError:
            log.debug("a file went while a link to it was read")
        except Exception as error:  # noqa: BLE001 - the bytes are with their reader already
            log.error("%d bytes sent by a link are not booked: %s", sent, error)

    def _link(self, ticket: Ticket) -> Link:
        path = ticket.path(self._secrets[0])
        return Link(ticket.link, self._base + path, datetime.fromtimestamp(ticket.expires, UTC))


async def forget_links(database: Database) -> None:
    """A job's work: rows of links that expired a month ago."""
    async with database.transaction() as connection:
        await repository.forget(connection)
