"""Judged in advance as it will be judged then."""

from hypothesis import given
from hypothesis import strategies as st

from services.upload.preflight.rules import Asked, Limits, Offer, cheapest, judge
from services.upload.quota.rules import Held, Reserve, State, apply_all
from shared.ids import new_id

TREE = {"documents": ["leases"]}
sizes = st.integers(0, 200)


def asked(*many: int) -> list[Asked]:
    return [Asked(size, "text/plain", "documents") for size in many]


@given(st.lists(sizes, max_size=8), sizes, sizes, st.none() | sizes)
def test_it_says_what_the_account_will_say(wanted: list[int], used: int, reserved: int, limit: int | None) -> None:
    state = State(limit, used, reserved)
    held: dict[object, Held] = {}
    outcomes, _ = apply_all(state, held, [Reserve(new_id(), size) for size in wanted])  # type: ignore[arg-type]
    verdict = judge(asked(*wanted), state, Limits(TREE, 1000))
    assert [not reasons for reasons in verdict.reasons] == [outcome.ok for outcome in outcomes]
    assert (verdict.missing == 0) == (not any(verdict.reasons))


@given(st.lists(sizes, min_size=1, max_size=8), sizes, sizes)
def test_with_what_is_missing_all_fit(wanted: list[int], used: int, limit: int) -> None:
    missing = judge(asked(*wanted), State(limit, used), Limits(TREE, 1000)).missing
    assert not any(judge(asked(*wanted), State(limit + missing, used), Limits(TREE, 1000)).reasons)
    if missing:
        assert any(judge(asked(*wanted), State(limit + missing - 1, used), Limits(TREE, 1000)).reasons)


def test_every_reason_is_told_and_takes_no_room() -> None:
    limits = Limits(TREE, 100, (frozenset({"image/*", "text/plain"}), frozenset({"text/*"})))
    files = [
        Asked(101, "application/zip", "nowhere"),
        Asked(101, "text/plain", "documents"),
        Asked(1, "image/png", "documents"),
        Asked(60, "text/plain", "documents"),
        Asked(60, None, None),
        Asked(40, "text/plain", "documents"),
    ]
    verdict = judge(files, State(100), limits)
    assert verdict.reasons == [
        ["unknown_category", "file_too_large", "type_not_allowed"],
        ["file_too_large"],
        ["type_not_allowed"],
        [],
        ["quota_exceeded"],
        [],
    ]
    assert verdict.missing == 60


def test_the_cheapest_plan_is_one_that_takes_all() -> None:
    limits = Limits(TREE, 10_000, (frozenset({"text/*", "video/mp4"}),))
    offers = {
        "free": Offer(100, None, None),
        "small": Offer(1000, None, None),
        "narrow": Offer(5000, 10, None),
        "texts": Offer(5000, None, frozenset({"text/*"})),
        "pro": Offer(5000, None, None),
        "endless": Offer(None, None, None),
    }
    state = State(100, 50)

    def best(*files: Asked) -> str | None:
        return cheapest(files, state, offers, limits, "free")

    assert best(*asked(40)) == "small"
    assert best(*asked(950)) == "small"
    assert best(*asked(951)) == "texts"
    assert best(Asked(951, "video/mp4", None)) == "pro"
    assert best(*asked(4000, 4000)) == "endless"
    assert best(*asked(10_001)) is None
    assert best(Asked(1, "image/png", None)) is None  # the installation takes none
