"""Live figures from the usage service."""

from uuid import UUID

from services.gateway.events.channel import Figures
from shared.errors import UpstreamError
from shared.http import ServiceClient

PATIENCE = 20  # seconds the other side may hold a question


class UsageWaiter:
    """Asks usage's internal long poll."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    async def wait(self, tenant: UUID, known: Figures | None) -> Figures:
        """The figures as soon as they differ from those known, or the same after a while. Raises UpstreamError."""
        question = f"after={known.position}&timeout={PATIENCE}" if known is not None else "after=0&timeout=0"
        if known is not None and known.version is not None:
            question += f"&version={known.version}"
        path = f"/internal/usage/{tenant}/wait?{question}"
        summary = await self._client.request_json("GET", path, timeout=PATIENCE + 10)
        try:
            position = int(summary["position"])
            return Figures(position, summary.get("version"), {**summary["storage"], "position": position})
        except (KeyError, TypeError, ValueError) as error:
            raise UpstreamError(502, "unreadable", f"usage answered without figures: {error}") from error
