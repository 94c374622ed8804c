"""What billing reads of usage's answer is what usage answers."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from services.billing.plans.provider import Usage, Used
from services.usage.limits.routes import internal
from services.usage.limits.schemas import LimitOut, LimitsOut
from services.usage.metering.meters import METERS
from shared.http import ServiceClient

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Answering:
    """In place of a client: usage's route and usage's model."""

    async def request_json(self, _method: str, path: str, **_: object) -> Any:
        (route,) = [route for route in internal.routes if getattr(route, "name", "") == "list_limits_of"]
        assert path == cast("Any", route).path.replace("{tenant_id}", str(UUID(int=7)))
        items = [LimitOut.of(meter, 5, None, None, 0) for meter in METERS.values()]
        return LimitsOut(within=True, position=3, as_of=NOW, items=items).model_dump(mode="json")


def test_bytes_position_and_time() -> None:
    found = asyncio.run(Usage(cast("ServiceClient", Answering())).find(UUID(int=7)))
    assert found == Used(position=3, as_of=NOW, amounts=dict.fromkeys(METERS, 5))
    assert found.amounts["storage"] == 5
