"""Which rate, for whom, from when."""

from datetime import date
from pathlib import Path

import pytest

from services.billing.details.parties import Buyer, Seller
from services.billing.invoices.tax import Tax, TaxRulesError, load
from tests.services.billing.world import SELLER

RULES = load()
TODAY = date(2026, 11, 22)
STRANGER = SELLER.model_copy(update={"country": "GB", "vat_id": "GB980780684"})


@pytest.mark.parametrize(
    ("seller", "country", "vat_id", "expected"),
    [
        (SELLER, "DE", None, Tax("S", 1900)),
        (SELLER, "DE", "DE136695976", Tax("S", 1900)),
        (SELLER, None, None, Tax("S", 1900)),  # nothing is known of the buyer: as at home
        (SELLER, "FR", None, Tax("S", 2000)),
        (SELLER, "FR", "FR40303265045", Tax("AE", 0)),
        (SELLER, "FI", None, Tax("S", 2550)),
        (SELLER, "US", None, Tax("O", 0)),
        (SELLER, "NO", None, Tax("O", 0)),
        (STRANGER, "GB", None, Tax("S", 2000)),
        (STRANGER, "FR", "FR40303265045", Tax("O", 0)),
        (SELLER.model_copy(update={"vat_id": None}), "DE", None, Tax("O", 0)),
    ],
)
def test_who_pays_what(seller: Seller, country: str | None, vat_id: str | None, expected: Tax) -> None:
    buyer = Buyer(name="Ada", country=country, vat_id=vat_id)
    assert RULES.tax(seller, buyer, TODAY) == expected


def test_a_rate_holds_from_its_day_on() -> None:
    buyer = Buyer(name="Ada", country="EE")
    found = [RULES.tax(SELLER, buyer, day).rate for day in (date(2025, 6, 30), date(2025, 7, 1))]
    assert found == [2200, 2400]


def test_an_unknown_rate_is_not_zero() -> None:
    with pytest.raises(LookupError, match="US"):
        RULES.tax(SELLER.model_copy(update={"country": "US"}), Buyer(name="Ada", country="US"), TODAY)
    with pytest.raises(LookupError, match="2001"):
        RULES.tax(SELLER, Buyer(name="Ada", country="DE"), date(2001, 1, 1))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("checked: x\nunion: [DE]\nrates: {}", "no rate for DE"),
        ("checked: x\nunion: []\nrates: {NO: {2024-01-01: 2500}}", "valid string"),  # YAML's no is false
        ("checked: x\nunion: []\nrates: {DE: {2024-01-01: 19.5}}", "integer"),
        ("checked: x\nunion: []\nrates: {DE: {2024-13-01: 1900}}", "month"),
        ("checked: x\nunion: []\nrates: {DE: {}}", "at least 1"),
        ("checked: x\nunion: []\nrates: {DE: {2024-01-01: 190000}}", "less than or equal"),
        ("checked: x\nrates: [", "not YAML"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "tax.yaml"
    file.write_text(text)
    with pytest.raises(TaxRulesError, match=said) as error:
        load(file)
    assert "\n" not in str(error.value)
