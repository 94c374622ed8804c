"""What a team uses, as `usage` counts it."""

import logging
from typing import Protocol
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ValidationError

from shared.errors import UpstreamError
from shared.http import ServiceClient

log = logging.getLogger(__name__)

PATIENCE = 2.0  # seconds; plans are shown as well without it


class Used(BaseModel):
    """One moment's figures by metric, bytes for `storage`: at `position` of the team's ledger."""

    position: int
    as_of: AwareDatetime
    amounts: dict[str, int]


class UsageProvider(Protocol):
    async def find(self, tenant: UUID) -> Used | None:
        """None when it cannot be asked."""


class _Item(BaseModel):
    metric: str
    used: int


class _Answer(BaseModel):
    position: int
    as_of: AwareDatetime
    items: list[_Item]


class Usage:
    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    async def find(self, tenant: UUID) -> Used | None:
        try:
            told = await self._client.request_json("GET", f"/internal/usage/{tenant}/limits", timeout=PATIENCE)
            answer = _Answer.model_validate(told)
        except (UpstreamError, ValidationError) as error:
            log.warning("plans are shown without what is used: %s", error)
            return None
        amounts = {item.metric: item.used for item in answer.items}
        return Used(position=answer.position, as_of=answer.as_of, amounts=amounts)

    async def close(self) -> None:
        await self._client.close()
