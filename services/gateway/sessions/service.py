"""Sessions: opened at sign-in, carried on by rotating refresh tokens, ended by logout or by a token used twice."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from services.gateway.errors import SessionEnded
from services.gateway.sessions import rules
from services.gateway.sessions.repository import SessionRepository
from services.gateway.sessions.rules import Session, Verdict
from services.gateway.sessions.tokens import LIFE, AccessTokens
from shared.clock import Clock
from shared.db import Database
from shared.ids import new_id


@dataclass(frozen=True, slots=True)
class Tokens:
    """`expires_in` seconds, of the access token."""

    user_id: UUID
    session_id: UUID
    access_token: str
    refresh_token: str
    expires_in: int = int(LIFE.total_seconds())


class Sessions:
    def __init__(self, database: Database, access: AccessTokens, clock: Clock, *, key: bytes) -> None:
        self._database = database
        self._access = access
        self._clock = clock
        self._key = key

    async def open(self, repository: SessionRepository, user: UUID) -> Tokens:
        """A new family, in the caller's transaction."""
        now = self._clock.now()
        session = Session(new_id(), user, now + rules.SESSION_LIFE, None)
        token = rules.new_token()
        await repository.insert(session, now)
        await repository.insert_token(rules.digest(token), session.id, now)
        return self._tokens(session, token)

    async def refresh(self, token: str, *, grace: timedelta = timedelta(0)) -> Tokens:
        """Trades a refresh token for the next. Raises SessionEnded; a token used before ends its whole family."""
        async with self._database.transaction() as connection:
            tokens = await self._rotate(SessionRepository(connection), token, grace)
        # Raised after the commit: ending the family must not be rolled back by telling about it.
        if tokens is None:
            raise SessionEnded
        return tokens

    async def end(self, session: UUID) -> None:
        async with self._database.transaction() as connection:
            await SessionRepository(connection).end(session, "logout", self._clock.now())

    async def end_of(self, token: str) -> UUID | None:
        """Ends the session a refresh token belongs to; an unknown token ends nothing."""
        async with self._database.transaction() as connection:
            repository = SessionRepository(connection)
            session = await repository.lock_of_token(rules.digest(token))
            if session is None:
                return None
            await repository.end(session.id, "logout", self._clock.now())
            return session.id

    async def _rotate(self, repository: SessionRepository, token: str, grace: timedelta) -> Tokens | None:
        digest, successor = rules.digest(token), rules.successor_of(token, self._key)
        session = await repository.lock_of_token(digest)
        if session is None:
            return None
        now = self._clock.now()
        used_at = await repository.get_used_at(digest)
        later = used_at is not None and await repository.get_used_at(rules.digest(successor)) is not None
        verdict = rules.judge(session, used_at, successor_used=later, now=now, grace=grace)
        if verdict is Verdict.ROTATE:
            await repository.mark_used(digest, now)
            await repository.insert_token(rules.digest(successor), session.id, now)
        elif verdict is Verdict.REUSE:
            await repository.end(session.id, "reuse", now)
        return self._tokens(session, successor) if verdict in (Verdict.ROTATE, Verdict.REPEAT) else None

    def _tokens(self, session: Session, refresh: str) -> Tokens:
        return Tokens(session.user_id, session.id, self._access.issue(session.user_id, session.id), refresh)
