"""`entitlements.v1`, a batch at a time."""

from collections.abc import Sequence
from typing import Any

from services.upload.entitlements.service import upsert
from shared.events import EntitlementsChanged
from shared.kafka import Record


async def on_entitlements(connection: Any, records: Sequence[Record]) -> None:
    await upsert(connection, [r.event for r in records if isinstance(r.event, EntitlementsChanged)])
