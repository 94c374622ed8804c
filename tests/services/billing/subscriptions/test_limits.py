"""What the platform that runs a team's projects may give them, by the team's plan."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.subscriptions.limits import Needs, excess
from shared.events import Entitlements
from tests.services.billing.world import Team, World

MIB = 1024**2
PATH = "/api/subscription/check"


@pytest.mark.parametrize(
    ("free", "pro", "code"),
    [
        ({"cpu": 0.3, "memory_bytes": 100 * MIB, "custom_domains": 0}, {}, None),
        ({"cpu": 0.31}, {"cpu": 4}, "plan_limit_cpu"),
        ({"memory_bytes": 100 * MIB + 1}, {"memory_bytes": 6144 * MIB}, "plan_limit_memory"),
        ({"custom_domains": 1}, {"custom_domains": 1000}, "plan_limit_custom_domains"),
    ],
)
async def test_what_a_team_s_projects_may_have(
    world: World, free: dict[str, Any], pro: dict[str, Any], code: str | None
) -> None:
    team = Team()
    status, body = await world.call("POST", PATH, free, who=team.principal)
    assert (status, body and body["code"]) == ((204, None) if code is None else (403, code))
    if code is not None:
        assert body["asked"] == next(iter(free.values()))
        assert body["upgrade_url"] == "/app/plans"
    payment = await world.started(team)
    await world.press(payment)
    await world.until(team, payment, lambda seen: seen["status"] == "completed")
    assert (await world.call("POST", PATH, pro, who=team.principal))[0] == 204


@pytest.mark.parametrize("body", [{"cpu": -1}, {"memory_bytes": -1}, {"memory_bytes": 0.5}, {"custom_domains": "many"}])
async def test_what_is_not_well_formed(world: World, body: dict[str, Any]) -> None:
    status, answer = await world.call("POST", PATH, body, who=Team().principal)
    assert (status, answer["code"]) == (422, "invalid_request")


@given(cpu=st.none() | st.floats(0, 1e6), memory=st.none() | st.integers(0, 2**50), domains=st.none() | st.integers(0))
def test_an_unlimited_plan_allows_everything(cpu: float | None, memory: int | None, domains: int | None) -> None:
    nothing: dict[str, Any] = dict.fromkeys(Entitlements.model_fields)
    unlimited = Entitlements.model_construct(**{**nothing, "custom_domains": True})
    assert excess(Needs(cpu, memory, domains), unlimited) is None
