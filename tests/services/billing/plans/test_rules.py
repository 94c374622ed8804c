"""Up or down, by price and otherwise by what is granted."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.billing.catalogue.loader import load
from services.billing.catalogue.plan import Interval, Plan, Price
from services.billing.plans.rules import Kind, covers, effective_at, kind_of, over

PRO = load().plans["pro"]
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def price(amount: str, currency: str = "EUR", interval: Interval = "month") -> Price:
    return Price(amount=amount, currency=currency, interval=interval)


def other(**rights: Any) -> Plan:
    entitlements = PRO.entitlements.model_copy(update=rights)
    return PRO.model_copy(update={"code": "other", "entitlements": entitlements})


@pytest.mark.parametrize(
    ("rights", "paid", "asked", "kind"),
    [
        ({"cpu": 1}, price("3.00"), price("4.00"), "upgrade"),
        ({"cpu": 8}, price("3.00"), price("2.00"), "downgrade"),
        ({"cpu": 8}, price("3.00"), price("30.00", interval="year"), "downgrade"),
        ({"cpu": 1}, price("3.00"), price("40.00", interval="year"), "upgrade"),
        ({"cpu": 8}, price("3.00"), price("3.00"), "upgrade"),
        ({"cpu": 1}, price("3.00"), price("3.00"), "downgrade"),
        ({"cpu": 1}, price("3.00"), price("400", "JPY"), "downgrade"),
        ({"cpu": 8}, price("3.00"), price("1", "JPY"), "upgrade"),
        ({"cpu": 1}, None, price("1", "JPY"), "upgrade"),
        ({"cpu": 8}, price("3.00"), None, "none"),
    ],
)
def test_kinds(rights: dict[str, Any], paid: Price | None, asked: Price | None, kind: Kind) -> None:
    assert kind_of(PRO, other(**rights), paid, asked) == kind


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ({"members": None}, {"members": 10**9}),
        ({"members": 2}, {"members": 1}),
        ({"allowed_types": None}, {"allowed_types": ("image/*",)}),
        ({"allowed_types": ("image/*", "text/csv")}, {"allowed_types": ("text/csv",)}),
        ({"trash_days": 1}, {"trash_days": 0}),
        ({"custom_domains": True}, {"custom_domains": False}),
        ({"isolation": "schema"}, {"isolation": "shared"}),
    ],
)
def test_what_loses_nothing(more: dict[str, Any], less: dict[str, Any]) -> None:
    rich, poor = other(**more).entitlements, other(**less).entitlements
    assert (covers(rich, poor), covers(poor, rich), covers(rich, rich)) == (True, False, True)


def test_amounts_and_dates() -> None:
    assert [over(used, limit) for used, limit in ((11, 10), (10, 10), (11, None), (None, 10))] == [1, 0, 0, None]
    later = NOW + timedelta(days=9)
    kinds: list[Kind] = ["same", "none", "upgrade", "downgrade"]
    assert [effective_at(kind, NOW, later) for kind in kinds] == [None, None, NOW, later]
    assert effective_at("downgrade", NOW, None) == NOW
    assert effective_at("downgrade", later, NOW) == later
