"""Notifications and mails, as they stand in the database."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Notification:
    """`id` is the event's: an event notifies once. `title` and `body` are English; `kind` and `data` say the same in
    any language. `timezone` is the tenant's now.
    """

    id: UUID
    tenant_id: UUID
    kind: str
    title: str
    body: str
    data: dict[str, Any]
    created_at: datetime
    read_at: datetime | None = None
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Reader:
    """Whom a mail goes to, and the team it is about."""

    user_id: UUID
    email: str
    name: str
    locale: str
    tenant_name: str
    timezone: str


@dataclass(frozen=True, slots=True)
class Mail:
    """`id` is the event's and becomes the Message-ID, so that a double can be recognised. `stop_url` is where its
    reader says that no more of the kind shall come; None where they cannot.
    """

    id: UUID
    tenant_id: UUID
    recipient: str
    subject: str
    text_body: str
    html_body: str
    created_at: datetime
    stop_url: str | None = None
    attempts: int = 0
