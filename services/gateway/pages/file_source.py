"""What the pages of files show and change, as upload has it."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from services.gateway.pages.rules import FileLine, LinkLine, file_line, link_line
from shared.errors import UpstreamError
from shared.http import ServiceClient
from shared.security import Principal

log = logging.getLogger(__name__)

PAGE = 50  # files
LINKS = 50


@dataclass(frozen=True, slots=True)
class Listing:
    files: list[FileLine]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class FileView:
    """`links` None where they are not to be had."""

    file: FileLine
    links: list[LinkLine] | None


class FileSource:
    """Raises UpstreamError, but where a part of a page can be left out."""

    def __init__(self, clients: dict[str, ServiceClient]) -> None:
        self._clients = clients

    async def list_files(self, who: Principal, *, name: str, cursor: str, trash: bool) -> Listing | None:
        """None when upload does not answer."""
        said = {"name": name, "cursor": cursor, "trash": "true" if trash else "", "limit": str(PAGE)}
        query = urlencode({key: value for key, value in said.items() if value})
        try:
            found = await self._ask("GET", f"/files?{query}", who)
        except UpstreamError as error:
            log.warning("a page goes without its files: %s", error)
            return None
        return Listing([file_line(item) for item in found["items"]], found["next_cursor"])

    async def keeps_trash(self, who: Principal) -> bool:
        try:
            found = await self._clients["billing"].request_json("GET", "/api/subscription", principal=who)
            return int(found["entitlements"]["trash_days"]) > 0
        except (UpstreamError, KeyError, TypeError, ValueError):
            return False

    async def view(self, who: Principal, file_id: UUID) -> FileView:
        file, links = await asyncio.gather(self._ask("GET", f"/files/{file_id}", who), self._links(who, file_id))
        return FileView(file_line(file), links)

    async def rename(self, who: Principal, file_id: UUID, name: str) -> None:
        await self._ask("PATCH", f"/files/{file_id}", who, {"name": name})

    async def restore(self, who: Principal, file_id: UUID) -> None:
        await self._ask("POST", f"/files/{file_id}/restore", who)

    async def delete_for_good(self, who: Principal, file_id: UUID) -> None:
        await self._ask("DELETE", f"/files/{file_id}?permanent=true", who)

    async def share(self, who: Principal, file_id: UUID, seconds: int, password: str) -> None:
        wish: dict[str, Any] = {"expires_in": seconds, **({"password": password} if password else {})}
        await self._ask("POST", f"/files/{file_id}/links", who, wish)

    async def revoke(self, who: Principal, link_id: UUID) -> None:
        await self._ask("DELETE", f"/links/{link_id}", who)

    async def _links(self, who: Principal, file_id: UUID) -> list[LinkLine] | None:
        try:
            found = await self._ask("GET", f"/links?file_id={file_id}&limit={LINKS}", who)
            return [link_line(item) for item in found["items"] if item["url"]]
        except (UpstreamError, KeyError, TypeError, ValueError) as error:
            log.warning("a page goes without links: %s: %s", type(error).__name__, error)
            return None

    async def _ask(self, method: str, path: str, who: Principal, body: dict[str, Any] | None = None) -> Any:
        return await self._clients["upload"].request_json(method, f"/api/storage{path}", principal=who, json=body)
