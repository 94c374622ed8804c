"""Random schedules of callbacks, kills and restarts: each ends in exactly one effect. `SCHEDULES` says how many."""

import asyncio
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.services.billing.payments.schedules import Schedule, stage_on

SCHEDULES = int(os.environ.get("SCHEDULES", "1000"))
TOGETHER = 20  # schedules played at once, on one database

_numbers = st.integers(0, 999)
_often = [*["tell"] * 5, *["work"] * 4, *["lie"] * 2, *["ask"] * 2, "pay", "pay", "fail", "cancel", "kill"]
_step = st.tuples(st.sampled_from(_often), _numbers) | st.tuples(
    st.sampled_from(["work"] * 30 + ["restart"]), st.just(0)
)
_early = st.tuples(st.sampled_from(["pay", "tell", "work", "lie"]), _numbers)
_schedule = st.builds(
    Schedule,
    purpose=st.sampled_from(["plan", "plan", "credits"]),
    early=st.lists(_early, max_size=3),
    answer_lost=st.booleans(),
    steps=st.lists(_step, min_size=1, max_size=12),
)


@pytest.fixture(scope="module")
async def stage(pg: Any) -> Any:
    async with stage_on(pg.create("billing")) as built:
        yield built


@pytest.mark.faults
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.timeout(120 + SCHEDULES)
@settings(
    max_examples=max(1, SCHEDULES // TOGETHER),
    deadline=None,
    # Side by side they do not fail twice the same way: what failed is shown as it was.
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(schedules=st.lists(_schedule, min_size=TOGETHER, max_size=TOGETHER))
async def test_every_schedule_ends_in_one_effect(stage: Any, schedules: list[Schedule]) -> None:
    await asyncio.gather(*(stage.play(schedule) for schedule in schedules))
    await stage.close_up()
