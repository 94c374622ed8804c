"""What credits cost, read from a file that explains its errors."""

from pathlib import Path
from typing import Any

import pytest

from services.billing.catalogue.loader import CatalogueError
from services.billing.credits import packs
from services.billing.credits.catalogue import FILE, load_credits
from shared.db import Database
from shared.money import Money
from tests.fixtures.postgres import ServiceDatabase

ERRORS = [
    ("cost: 5", "cost: 0", 24, "uses.traffic_gb.cost"),
    ("cost: 5", "cost: 1.5", 24, "uses.traffic_gb.cost"),
    ("cost: 5", "price: 5", 24, "uses.traffic_gb.cost"),
    ('EUR: "4.99"', 'EUR: "4.999"', 8, "packs.0.prices"),
    ('EUR: "4.99"', "EUR: 4.99", 8, "packs.0.prices.EUR"),
    ('JPY: "800"', 'JPY: "800.5"', 8, "packs.0.prices"),
    ('EUR: "4.99"', 'EUR: "0"', 8, "packs.0.prices"),
    ('EUR: "4.99"', 'euro: "4.99"', 8, "packs.0.prices"),
    ("credits: 500\n", "credits: -500\n", 12, "packs.1.credits"),
    ("code: medium", "code: small", 2, "credits"),
    ("daily_limit: 10", "daily_limit: many", 31, "ads.daily_limit"),
    ("complete_within: 600", "complete_within: 29", 32, "ads.complete_within"),
    ("seconds: 15,", "secs: 15,", 30, "ads.rewards.1.seconds"),
    ("grant_priority: 30", "grant_priority: 30\nextra: 1", 36, "extra"),
]


@pytest.mark.parametrize(("said", "instead", "line", "place"), ERRORS)
def test_errors_say_file_line_and_place(tmp_path: Path, said: str, instead: str, line: int, place: str) -> None:
    path = tmp_path / "credits.yaml"
    text = FILE.read_text()
    assert said in text
    path.write_text(text.replace(said, instead, 1))
    with pytest.raises(CatalogueError) as refused:
        load_credits(path)
    assert f"credits.yaml:{line}: {place}: " in str(refused.value)


@pytest.mark.parametrize("text", ["", "packs: [", "- 1", "packs: !!python/name:os.system"])
def test_what_is_no_catalogue(tmp_path: Path, text: str) -> None:
    path = tmp_path / "credits.yaml"
    path.write_text(text)
    with pytest.raises(CatalogueError, match=r"credits\.yaml:1: "):
        load_credits(path)


def test_what_is_shipped() -> None:
    found = load_credits()
    assert {use: told.cost for use, told in found.uses.items()} == {"image": 1, "traffic_gb": 5}
    assert [(reward.seconds, reward.credits) for reward in found.ads.rewards] == [(30, 2), (15, 1)]
    assert (found.ads.daily_limit, found.ads.complete_within) == (10, 600)
    for pack in found.packs:
        assert all(Money.parse(amount, currency).amount > 0 for currency, amount in pack.prices.items())


async def test_a_pack_that_was_sold_is_not_changed_in_place(billing_db: ServiceDatabase) -> None:
    found = load_credits()
    changed: Any = found.model_copy(update={"packs": [found.packs[0].model_copy(update={"credits": 1})]})
    async with Database(billing_db.app) as database:
        for _ in range(2):
            async with database.transaction() as connection:
                await packs.register(connection, found)
        with pytest.raises(CatalogueError, match="changed in place"):
            async with database.transaction() as connection:
                await packs.register(connection, changed)
