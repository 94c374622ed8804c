"""Who a request comes from: by bearer token, or by the cookies of a page."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import monotonic, time
from uuid import UUID

from services.gateway.accounts.models import Account
from services.gateway.accounts.repository import AccountRepository
from services.gateway.errors import SessionEnded, TenantNotFound, Unauthorized
from services.gateway.identity import rules
from services.gateway.sessions.repository import SessionRepository
from services.gateway.sessions.rules import PAGE_GRACE, SESSION_LIFE
from services.gateway.sessions.service import Sessions, Tokens
from services.gateway.sessions.tokens import AccessTokens, Claims
from services.gateway.tenants.models import Membership
from shared.clock import Clock
from shared.db import Database

# How long a change (a logout elsewhere, a new role) may take to be seen by this process.
FRESH_SECONDS = 30.0
_CAPACITY = 20_000


@dataclass(slots=True)
class Visitor:
    """`account` is None for somebody not signed in. `cookies` are to be set with the answer."""

    account: Account | None = None
    session_id: UUID | None = None
    by_cookie: bool = False
    visit: str = ""
    cookies: list[bytes] = field(default_factory=list)

    @property
    def binding(self) -> str:
        """What a form token of this visitor is bound to."""
        return str(self.session_id) if self.session_id is not None else self.visit

    @property
    def locale(self) -> str:
        """As their profile has it; empty for somebody not signed in."""
        return self.account.locale if self.account is not None else ""

    def membership(self, slug: str | None) -> Membership | None:
        """The tenant asked for, or the oldest. Raises TenantNotFound."""
        memberships = self.account.memberships if self.account is not None else ()
        if slug is None:
            return memberships[0] if memberships else None
        for membership in memberships:
            if membership.slug == slug:
                return membership
        raise TenantNotFound


class Visitors:
    """Resolves credentials; what the database says is kept for half a minute."""

    def __init__(
        self, database: Database, access: AccessTokens, sessions: Sessions, clock: Clock, *, secure_cookies: bool
    ) -> None:
        self._database = database
        self._access = access
        self._sessions = sessions
        self._clock = clock
        self._secure = secure_cookies
        self._accounts: OrderedDict[UUID, tuple[float, Account | None]] = OrderedDict()  # by session
        self._claims: OrderedDict[str, Claims] = OrderedDict()
        self._changes = 0  # of what the database says, as far as this process was told

    async def recognise(self, headers: Iterable[tuple[bytes, bytes]]) -> Visitor:
        """Raises Unauthorized for a bearer token that is not good; bad cookies are no credentials."""
        found = {name: value.decode("latin-1") for name, value in headers if name in (b"authorization", b"cookie")}
        authorization = found.get(b"authorization", "")
        if authorization:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer":
                raise Unauthorized("Send the access token as a bearer token.")
            return await self._by_bearer(token.strip())
        if b"cookie" not in found:
            return Visitor()
        return await self._by_cookies(rules.read_cookies(found[b"cookie"]))

    def sign_in_cookies(self, tokens: Tokens) -> list[bytes]:
        life = int(SESSION_LIFE.total_seconds())
        return [
            rules.cookie(rules.ACCESS, tokens.access_token, max_age=tokens.expires_in, secure=self._secure),
            rules.cookie(rules.REFRESH, tokens.refresh_token, max_age=life, secure=self._secure),
        ]

    def sign_out_cookies(self) -> list[bytes]:
        return [rules.cookie(name, "", max_age=0, secure=self._secure) for name in (rules.ACCESS, rules.REFRESH)]

    def visit_cookie(self, visit: str) -> bytes:
        return rules.cookie(rules.VISIT, visit, max_age=rules.CSRF_LIFE, secure=self._secure)

    def forget(self, session: UUID) -> None:
        """After a change of the session or its person that must be seen at once."""
        self._changes += 1
        self._accounts.pop(session, None)

    def forget_person(self, user: UUID) -> None:
        """After a change of the tenants they belong to: all their sessions are looked up again."""
        self._changes += 1
        for session, (_, account) in list(self._accounts.items()):
            if account is not None and account.id == user:
                del self._accounts[session]

    async def _by_bearer(self, token: str) -> Visitor:
        claims = self._verify(token)
        account = await self._account(claims)
        if account is None:
            raise SessionEnded
        return Visitor(account, claims.session_id)

    async def _by_cookies(self, cookies: dict[str, str]) -> Visitor:
        visit = cookies.get(rules.VISIT, "")
        try:
            claims = self._verify(cookies.get(rules.ACCESS, ""))
            account = await self._account(claims)
        except Unauthorized:
            return await self._refreshed(cookies, visit)
        if account is None:
            return Visitor(visit=visit, cookies=self.sign_out_cookies())
        return Visitor(account, claims.session_id, by_cookie=True, visit=visit)

    async def _refreshed(self, cookies: dict[str, str], visit: str) -> Visitor:
        token = cookies.get(rules.REFRESH)
        if not token:
            return Visitor(visit=visit)
        try:
            tokens = await self._sessions.refresh(token, grace=PAGE_GRACE)
        except SessionEnded:
            return Visitor(visit=visit, cookies=self.sign_out_cookies())
        account = await self._account(Claims(tokens.user_id, tokens.session_id, self._clock.now()))
        if account is None:
            return Visitor(visit=visit, cookies=self.sign_out_cookies())
        return Visitor(account, tokens.session_id, by_cookie=True, visit=visit, cookies=self.sign_in_cookies(tokens))

    def _verify(self, token: str) -> Claims:
        """Raises Unauthorized. A signature is checked once, the expiry each time."""
        claims = self._claims.get(token)
        if claims is None or claims.expires_at <= self._clock.now():
            self._claims.pop(token, None)
            claims = self._access.verify(token)
            self._claims[token] = claims
            if len(self._claims) > _CAPACITY:
                self._claims.popitem(last=False)
        return claims

    async def _account(self, claims: Claims) -> Account | None:
        """None when the session has ended or the person is gone."""
        cached = self._accounts.get(claims.session_id)
        if cached is not None and cached[0] > monotonic():
            return cached[1]
        changes = self._changes
        async with self._database.transaction() as connection:
            account = None
            if await SessionRepository(connection).is_live(claims.session_id, self._clock.now()):
                account = await AccountRepository(connection).find(claims.user_id)
        if changes != self._changes:
            return account  # it may have been read before the change: good for this request, and not kept
        self._accounts[claims.session_id] = (monotonic() + FRESH_SECONDS, account)
        self._accounts.move_to_end(claims.session_id)
        if len(self._accounts) > _CAPACITY:
            self._accounts.popitem(last=False)
        return account


def form_token(key: bytes, visitor: Visitor) -> str:
    return rules.csrf_token(key, visitor.binding, time())


def form_token_holds(key: bytes, visitor: Visitor, token: str) -> bool:
    return rules.csrf_holds(key, visitor.binding, token, time())
