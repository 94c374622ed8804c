import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.usage.forecast.rules import Filling, Forecast, forecast_storage, forecast_traffic
from services.usage.forecast.trend import Trend, trend

NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)
TODAY = NOON.date()
RESET = date(2026, 4, 1)
LONG_AGO = date(2025, 1, 1)
FAR = 10**9


def filling(used: int, limit: int | None, now: datetime = NOON) -> Filling:
    return Filling(used, limit, now, UTC)


def ends(values: Sequence[int]) -> dict[date, int]:
    """What was stored at the end of each of the last days, yesterday's last."""
    return {TODAY - timedelta(days=len(values) - n): value for n, value in enumerate(values)}


def test_a_steady_growth_is_extended() -> None:
    found = forecast_storage(ends(range(100, 400, 10)), filling(395, 495))
    assert found.status == "will_fill"
    assert found.per_day == pytest.approx(10)
    assert found.day == TODAY + timedelta(days=10)
    assert found.earliest == found.latest == found.day


def test_one_outlier_bends_nothing() -> None:
    values = list(range(1000, 1600, 10))
    values[20] = 10**9
    found = forecast_storage(ends(values), filling(1595, 2595))
    assert found.per_day == pytest.approx(10, rel=0.05)


def test_noise_widens_the_interval() -> None:
    dice = random.Random(5)
    quiet = [10_000 + 100 * n + dice.randint(-20, 20) for n in range(60)]
    loud = [10_000 + 100 * n + dice.randint(-900, 900) for n in range(60)]
    widths = []
    for values in (quiet, loud):
        found = forecast_storage(ends(values), filling(16_000, 40_000))
        assert found.earliest is not None
        assert found.latest is not None
        assert found.earliest <= (found.day or TODAY) <= found.latest
        widths.append(found.latest - found.earliest)
    assert widths[0] < widths[1]


@pytest.mark.parametrize("values", [[500] * 40, list(range(900, 500, -10)), [0] * 10])
def test_what_does_not_grow_never_fills(values: list[int]) -> None:
    found = forecast_storage(ends(values), filling(values[-1], 10_000))
    assert (found.status, found.day) == ("not_growing", None)


def test_growth_too_slow_to_matter_is_none() -> None:
    assert forecast_storage(ends(range(40)), filling(40, 10**12)).status == "not_growing"


def test_seven_whole_days_are_needed() -> None:
    assert forecast_storage(ends(range(10, 16)), filling(16, FAR)) == Forecast("not_enough_data")
    assert forecast_storage(ends(range(10, 17)), filling(17, 20)).status == "will_fill"
    assert forecast_storage({}, filling(0, 20)) == Forecast("not_enough_data")
    assert forecast_storage({TODAY: 5}, filling(5, 20)) == Forecast("not_enough_data")


def test_days_without_change_are_known_all_the_same() -> None:
    """One change long ago, another 30 days ago: 90 days of knowledge."""
    held = {TODAY - timedelta(days=400): 10, TODAY - timedelta(days=30): 500}
    assert forecast_storage(held, filling(500, 600)).status in {"will_fill", "not_growing"}
    assert forecast_storage({TODAY - timedelta(days=400): 10}, filling(10, 20)).status == "not_growing"


def test_unlimited_and_full_come_first() -> None:
    assert forecast_storage({}, filling(10, None)) == Forecast("unlimited")
    assert forecast_storage({}, filling(10, 10)) == Forecast("full")
    assert forecast_storage({}, filling(0, 0)) == Forecast("full")
    assert forecast_traffic({}, filling(10, None), LONG_AGO, RESET) == Forecast("unlimited")
    assert forecast_traffic({}, filling(11, 10), LONG_AGO, RESET) == Forecast("full")


def moved(values: Sequence[int]) -> dict[date, int]:
    """On the days of the month, from the first on."""
    return {date(2026, 3, 1) + timedelta(days=n): value for n, value in enumerate(values)}


def test_a_month_s_traffic_that_runs_out() -> None:
    found = forecast_traffic(moved([100] * 19 + [50]), filling(1950, 2450), LONG_AGO, RESET)
    assert (found.status, found.day) == ("will_fill", date(2026, 3, 25))


def test_a_month_s_traffic_that_lasts() -> None:
    found = forecast_traffic(moved([100] * 19 + [50]), filling(1950, 4000), LONG_AGO, RESET)
    assert (found.status, found.day, found.earliest, found.latest) == ("will_last", None, None, None)
    assert found.per_day == pytest.approx(100)
    bursts = [0, 400] * 9 + [0, 50]
    assert forecast_traffic(moved(bursts), filling(sum(bursts), 6_500), LONG_AGO, RESET).status == "will_last"
    assert forecast_traffic(moved([0] * 19), filling(0, 10), LONG_AGO, RESET).status == "will_last"


def test_three_days_of_the_month_are_needed() -> None:
    fourth = datetime(2026, 3, 4, 1, tzinfo=UTC)
    assert forecast_traffic(moved([10] * 3), filling(30, 40, fourth), LONG_AGO, RESET).status == "will_fill"
    third = fourth - timedelta(days=1)
    assert forecast_traffic(moved([10] * 3), filling(30, 40, third), LONG_AGO, RESET).status == "not_enough_data"


def test_days_before_the_first_traffic_tell_nothing() -> None:
    """A tenant of yesterday does not last because it did not exist in the weeks before."""
    young = {TODAY - timedelta(days=1): 900, TODAY: 100}
    first = min(young)
    assert forecast_traffic(young, filling(1_000, 5_000), first, RESET).status == "not_enough_data"
    assert forecast_traffic({}, filling(0, 5_000), None, RESET).status == "not_enough_data"
    days = {TODAY - timedelta(days=n): 900 for n in range(1, 5)}
    found = forecast_traffic(days, filling(3_600, 7_200), min(days), RESET)
    assert found.status == "will_fill"
    assert found.per_day == pytest.approx(900, rel=0.3)


def test_days_are_the_tenant_s() -> None:
    """At 20:00 UTC on the last of March it is April in Auckland: nothing of the new month is known."""
    late = datetime(2026, 3, 31, 20, tzinfo=UTC)
    there = Filling(30, 40, late, ZoneInfo("Pacific/Auckland"))
    assert there.today == date(2026, 4, 1)
    assert forecast_traffic(moved([10] * 31), there, LONG_AGO, date(2026, 5, 1)).status == "not_enough_data"


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=40), st.integers(-50, 50), st.integers(-9, 9))
def test_the_slope_is_that_of_most_and_moves_with_the_points(ys: list[int], tilt: int, factor: int) -> None:
    points = [(float(n), float(y)) for n, y in enumerate(ys)]
    found = trend(points)
    assert found.low <= found.slope <= found.high
    tilted = trend([(x, y + tilt * x) for x, y in points])
    assert tilted.slope == pytest.approx(found.slope + tilt, abs=1e-6)
    turned = trend([(x, factor * y) for x, y in points])
    assert turned.slope == pytest.approx(factor * found.slope, abs=1e-6)


def test_a_straight_line_is_found_exactly() -> None:
    assert trend([(0, 1), (1, 3), (5, 11)]) == Trend(2, 2, 2)


@pytest.mark.parametrize("walks", [False, True])
def test_the_interval_holds_the_truth(*, walks: bool) -> None:
    """95 of 100 where points know nothing of each other; fewer where each day begins with what the one before left."""
    dice, held, rounds = random.Random(20260320), 0, 150
    for _ in range(rounds):
        level, points = 0.0, []
        for n in range(60):
            level += dice.gauss(10, 8)
            points.append((float(n), level if walks else 10 * n + dice.gauss(0, 40)))
        found = trend(points)
        held += found.low <= 10 <= found.high
    assert held / rounds >= (0.7 if walks else 0.93)
