"""Signing up and signing in. Each use case is one transaction, shared by the JSON routes and the pages' forms."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from services.gateway.accounts import rules
from services.gateway.accounts.models import Account
from services.gateway.accounts.passwords import Passwords
from services.gateway.accounts.repository import AccountRepository
from services.gateway.errors import CredentialsWrong, EmailInvalid, EmailTaken, Unauthorized
from services.gateway.sessions.repository import SessionRepository
from services.gateway.sessions.service import Sessions, Tokens
from services.gateway.tenants import changes
from services.gateway.tenants.models import Tenant
from shared import outbox
from shared.clock import Clock
from shared.db import Database
from shared.ids import new_id


@dataclass(frozen=True, slots=True)
class Application:
    """What somebody gives to sign up, as they typed it."""

    email: str
    password: str
    name: str
    organization: str | None = None
    locale: str | None = None


@dataclass(frozen=True, slots=True)
class SignedUp:
    account: Account
    tenant: Tenant
    tokens: Tokens


class Accounts:
    def __init__(
        self, database: Database, passwords: Passwords, sessions: Sessions, clock: Clock, wake: outbox.Wake
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._sessions = sessions
        self._clock = clock
        self._wake = wake

    def close(self) -> None:
        self._passwords.close()

    async def sign_up(self, application: Application) -> SignedUp:
        """Person, profile, tenant, membership, session and `tenant.created`, all or none.

        Raises EmailInvalid, PasswordInvalid, NameInvalid, EmailTaken, Busy.
        """
        email = rules.normalise_email(application.email)
        rules.check_password(application.password, email=email)
        name = rules.normalise_name(application.name)
        locale = rules.normalise_locale(application.locale)
        organization = (application.organization or "").strip()
        title = rules.normalise_name(organization) if organization else name
        password_hash = await self._passwords.hash(application.password)
        account = Account(new_id(), email, name, locale, is_admin=False)
        tenant = Tenant(new_id(), "", title, account.id, "UTC", locale)
        async with self._database.transaction(tenant.id) as connection:
            tenant = await self._create(connection, account, password_hash, tenant)
            tokens = await self._sessions.open(SessionRepository(connection), account.id)
        self._wake.set()
        return SignedUp(account, tenant, tokens)

    async def log_in(self, email: str, password: str) -> Tokens:
        """Raises CredentialsWrong, Busy."""
        try:
            address = rules.normalise_email(email)
        except EmailInvalid:
            address = ""  # nobody's: goes the same long way as any unknown one
        async with self._database.acquire() as connection:
            found = await AccountRepository(connection).find_password(address)
        right = await self._passwords.matches(None if found is None else found[1], password[: rules.PASSWORD_MAX + 1])
        if found is None or not right:
            raise CredentialsWrong
        async with self._database.transaction() as connection:
            return await self._sessions.open(SessionRepository(connection), found[0])

    async def names(self, users: Sequence[UUID]) -> dict[UUID, str]:
        """Of those that are known."""
        async with self._database.transaction() as connection:
            return await AccountRepository(connection).list_names(users)

    async def get(self, user: UUID) -> Account:
        """Raises Unauthorized when the person is no more."""
        async with self._database.transaction() as connection:
            account = await AccountRepository(connection).find(user)
        if account is None:
            raise Unauthorized
        return account

    async def find(self, email: str) -> Account | None:
        """Whoever has that address."""
        async with self._database.transaction() as connection:
            accounts = AccountRepository(connection)
            found = await accounts.find_password(email)
            return None if found is None else await accounts.find(found[0])

    async def change_profile(self, user: UUID, name: str | None, locale: str | None) -> Account:
        """None leaves a field as it is. Raises NameInvalid."""
        name = None if name is None else rules.normalise_name(name)
        locale = None if locale is None else rules.normalise_locale(locale)
        async with self._database.transaction() as connection:
            await AccountRepository(connection).update_profile(user, name, locale, self._clock.now())
        return await self.get(user)

    async def _create(self, connection: object, account: Account, password_hash: str, tenant: Tenant) -> Tenant:
        now = self._clock.now()
        accounts = AccountRepository(connection)
        if not await accounts.insert(account.id, account.email, password_hash, now):
            raise EmailTaken
        await accounts.insert_profile(account.id, account.name, account.locale, now)
        return await changes.found(connection, tenant, now)
