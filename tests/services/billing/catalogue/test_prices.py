"""Prices and digests, of any plan there could be."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from services.billing.catalogue.loader import load
from services.billing.catalogue.plan import INTERVALS, Interval, Plan, Price
from shared.money import Money, minor_digits

CURRENCIES = ["EUR", "USD", "JPY", "XOF", "TND", "KWD"]  # of 2, 2, 0, 0, 3 and 3 decimals
FREE = load().plans["free"]

keys = st.tuples(st.sampled_from(CURRENCIES), st.sampled_from(INTERVALS))
priced = st.dictionaries(keys, st.integers(1, 10**13), max_size=6)


def prices(amounts: dict[tuple[str, Interval], int]) -> list[dict[str, Any]]:
    return [
        {"amount": Money(amount, currency).text, "currency": currency, "interval": interval}
        for (currency, interval), amount in amounts.items()
    ]


def plan(told: list[dict[str, Any]], **changes: Any) -> Plan:
    return Plan.model_validate({**FREE.model_dump(), "prices": told, **changes})


@given(priced)
def test_each_is_found_as_it_was_told_and_no_other(amounts: dict[tuple[str, Interval], int]) -> None:
    made = plan(prices(amounts))
    for currency in CURRENCIES:
        found = {one: made.price_in(currency, one) for one in INTERVALS}
        assert {(currency, one): price.money.amount for one, price in found.items() if price} == {
            key: amount for key, amount in amounts.items() if key[0] == currency
        }
        assert made.price_in(currency) == (found["month"] or found["year"])


@given(priced, st.randoms())
def test_the_digest_knows_no_order_and_no_way_of_writing(amounts: dict[tuple[str, Interval], int], order: Any) -> None:
    told = prices(amounts)
    shuffled = [{**one, "amount": written(one["amount"])} for one in order.sample(told, len(told))]
    assert plan(shuffled).digest == plan(told).digest


def written(amount: str) -> str:
    """With a nothing in front and, where it has decimals, without those that say nothing."""
    return "0" + (amount.rstrip("0").rstrip(".") if "." in amount else amount)


@given(priced, priced)
def test_other_prices_are_another_plan(
    one: dict[tuple[str, Interval], int], other: dict[tuple[str, Interval], int]
) -> None:
    assert (plan(prices(one)).digest == plan(prices(other)).digest) == (one == other)


@given(priced)
@settings(max_examples=50)
def test_what_is_stored_is_read_again(amounts: dict[tuple[str, Interval], int]) -> None:
    made = plan(prices(amounts))
    assert Plan.stored(made.model_dump(mode="json")) == made


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"public": False}, True),
        ({"name": "Gratis"}, False),
        ({"version": 2}, False),
        ({"code": "gratis"}, False),
        ({"default": False}, False),
    ],
)
def test_what_a_digest_is_of(changes: dict[str, Any], same: bool) -> None:
    assert (plan([], **changes).digest == FREE.digest) == same


@pytest.mark.parametrize("name", sorted(set(type(FREE.entitlements).model_fields)))
def test_every_entitlement_is_part_of_it(name: str) -> None:
    other: dict[str, Any] = {"custom_domains": True, "allowed_types": ["image/*"], "isolation": "schema", "cpu": 0.4}
    changed = {**FREE.entitlements.model_dump(), name: other.get(name, 12345 % 3650)}
    assert plan([], entitlements=changed).digest != FREE.digest


@pytest.mark.parametrize("currency", CURRENCIES)
def test_the_least_and_what_would_bill_nothing(currency: str) -> None:
    least = Money(1, currency)
    assert Price(amount=least.text, currency=currency, interval="month").money == least
    digits = minor_digits(currency)
    for text in ("0", f"0.{'0' * digits}", f"0.{'0' * digits}1", f"-{least.text}", "", "1e3", "٣", " 3", "1" * 16):
        with pytest.raises(ValidationError):
            Price(amount=text, currency=currency, interval="month")
