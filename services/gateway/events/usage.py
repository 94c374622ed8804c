"""Live figures from the usage service."""

from uuid import UUID

from shared.http import ServiceClient


class UsageWaiter:
    """Asks usage's internal long poll."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    async def wait(self, tenant: UUID, after: int, timeout: int) -> tuple[int, dict[str, object]]:
        """Position and figures, as soon as the position is past `after` or `timeout` seconds have gone. Raises UpstreamError."""
        path = f"/internal/usage/{tenant}/wait?after={after}&timeout={timeout}"
        summary = await self._client.request_json("GET", path, timeout=timeout + 10)
        position = int(summary["position"])
        return position, {**summary["storage"], "position": position}
