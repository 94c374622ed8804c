"""Notifications and mails, as they stand in the database."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Notification:
    """`id` is the event's: an event notifies once."""

    id: UUID
    tenant_id: UUID
    kind: str
    title: str
    body: str
    data: dict[str, Any]
    created_at: datetime
    read_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Mail:
    """`id` is the event's and becomes the Message-ID, so that a double can be recognised."""

    id: UUID
    tenant_id: UUID
    recipient: str
    subject: str
    text_body: str
    html_body: str
    created_at: datetime
    attempts: int = 0
