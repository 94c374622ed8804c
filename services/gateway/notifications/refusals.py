"""Mails somebody wants no more of: the link each of them carries (RFC 8058), and what was chosen."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from services.gateway.notifications.rules import Subject
from shared.security import signatures

PATH = "/api/notifications/unsubscribe"

_LOCALE = "SELECT locale FROM profile WHERE user_id = $1"
_LIST = "SELECT subject FROM mail_refusal WHERE user_id = $1"
_REFUSE = """
    INSERT INTO mail_refusal (user_id, subject, refused_at) SELECT $1, s, $3 FROM unnest($2::text[]) AS s
    ON CONFLICT DO NOTHING
"""
_ALLOW = "DELETE FROM mail_refusal WHERE user_id = $1 AND NOT subject = ANY($2::text[])"


class StopLinks:
    """The signature is the permission: for one person and one subject, for ever, and for nothing else."""

    def __init__(self, base_url: str, key: bytes) -> None:
        self._base_url = base_url
        self._secret = key.hex()

    def link(self, user: UUID, subject: Subject) -> str:
        said = {"user": user, "about": subject, "sig": signatures.make(self._secret, "unsubscribe", user, subject)}
        return f"{self._base_url}{PATH}?{urlencode(said)}"

    def holds(self, user: UUID, subject: Subject, signature: str) -> bool:
        return signatures.matches(signature, [self._secret], "unsubscribe", user, subject)


class RefusalRepository:
    """Runs inside the caller's transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def find_locale(self, user: UUID) -> str | None:
        """None of somebody who is no more."""
        found: str | None = await self._connection.fetchval(_LOCALE, user)
        return found

    async def list_of(self, user: UUID) -> set[str]:
        return {row["subject"] for row in await self._connection.fetch(_LIST, user)}

    async def insert(self, user: UUID, subjects: Collection[Subject], at: datetime) -> None:
        await self._connection.execute(_REFUSE, user, list(subjects), at)

    async def replace(self, user: UUID, subjects: Collection[Subject], at: datetime) -> None:
        """Those that are refused already keep their time."""
        await self._connection.execute(_ALLOW, user, list(subjects))
        await self.insert(user, subjects, at)
