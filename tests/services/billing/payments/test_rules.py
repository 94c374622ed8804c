"""When a provider's word is believed. Pure."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.payments.rules import (
    OPEN,
    Asked,
    Claim,
    Status,
    is_timely,
    judge,
    may_become,
    return_address,
    signature_matches,
)
from shared.money import Money
from tests.services.billing.world import signed

STATUSES: tuple[Status, ...] = get_args(Status)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
RANK = {"pending": 0, "processing": 1, "failed": 2, "cancelled": 2, "completed": 3}

statuses = st.sampled_from(STATUSES)
money = st.builds(Money, st.integers(1, 10**12), st.sampled_from(["EUR", "JPY", "KWD"]))
claims = st.builds(
    Claim, payment_id=st.sampled_from("ab"), external_id=st.sampled_from("xy"), status=statuses, money=money
)


@given(statuses, st.lists(statuses))
def test_states_only_move_forward(start: Status, claimed: list[Status]) -> None:
    """Whatever is claimed in whatever order; and what is completed stays so."""
    state = start
    for status in claimed:
        if may_become(state, status):
            assert RANK[status] > RANK[state]
            state = status
    if "completed" in claimed:
        assert state == "completed"


@given(money, statuses, claims)
def test_nothing_is_accepted_that_was_not_asked(price: Money, status: Status, claim: Claim) -> None:
    asked = Asked("a", "x", status, price)
    if judge(asked, claim).verdict == "accepted":
        assert (claim.payment_id, claim.external_id, claim.money) == ("a", "x", price)
        assert may_become(status, claim.status)
    true = Claim("a", "x", claim.status, price)
    assert (judge(asked, true).verdict == "accepted") == may_become(status, claim.status)
    assert judge(asked, true).verdict != "rejected", "true, at worst late"


@given(money, st.integers(1, 1000), st.sampled_from([1, -1]))
def test_one_minor_unit_is_another_amount(price: Money, off: int, sign: int) -> None:
    wrong = replace(price, amount=price.amount + sign * off)
    verdict = judge(Asked("a", None, "pending", price), Claim("a", "x", "completed", wrong))
    assert verdict.verdict == "rejected"
    assert verdict.reason == f"amount {wrong.text} instead of {price.text}"


@given(money)
def test_the_same_number_of_another_currency(price: Money) -> None:
    other = Money(price.amount, "USD")
    assert judge(Asked("a", None, "pending", price), Claim("a", "x", "completed", other)).verdict == "rejected"


def test_before_the_provider_has_told_its_id_ours_is_enough() -> None:
    claim = Claim("a", "x", "completed", Money(300, "EUR"))
    assert judge(Asked("a", None, "pending", claim.money), claim).verdict == "accepted"


@given(st.binary(max_size=200), st.text(max_size=20), st.integers(0, 10**10), st.binary(min_size=24, max_size=64))
def test_only_what_was_signed_matches(body: bytes, event: str, stamp: int, key: bytes) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    other = "whsec_" + base64.b64encode(key[::-1] + b"!").decode()
    good = signed(secret, event, str(stamp), body)
    assert signature_matches([secret], event, str(stamp), body, good)
    assert signature_matches([other, secret], event, str(stamp), body, f"v1,AAAA {good}")
    assert not signature_matches([other], event, str(stamp), body, good)
    assert not signature_matches([], event, str(stamp), body, good)
    assert not signature_matches([secret], event, str(stamp), body + b" ", good)
    assert not signature_matches([secret], event + "x", str(stamp), body, good)
    assert not signature_matches([secret], event, str(stamp + 1), body, good)
    assert not signature_matches([secret], event, str(stamp), body, good.replace("v1,", "v2,"))
    assert not signature_matches([secret], event, str(stamp), body, good[:-1])


@given(st.integers(-1000, 1000))
def test_the_window_is_300_seconds_both_ways(age: int) -> None:
    stamp = str(int((NOW - timedelta(seconds=age)).timestamp()))
    assert is_timely(stamp, NOW) == (abs(age) <= 300)


@pytest.mark.parametrize("stamp", ["", "now", "-1", "1e9", "١٢٣", " 1772323200", "9" * 13, "1772323200.5"])
def test_a_time_that_is_none(stamp: str) -> None:
    assert not is_timely(stamp, NOW)


@given(st.text(max_size=40))
def test_the_payer_comes_back_to_this_site(wanted: str) -> None:
    try:
        address = return_address("https://stowage.example/", wanted)
    except ValueError:
        return
    assert address.startswith(("https://stowage.example/", "https://stowage.example?")) or wanted == address


def test_open_states() -> None:
    assert {status for status in STATUSES if may_become(status, "failed")} == set(OPEN)
