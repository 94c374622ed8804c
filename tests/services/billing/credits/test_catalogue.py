"""What credits cost, read from a file that explains its errors."""

import re
from pathlib import Path
from typing import Any

import pytest

from services.billing.catalogue.loader import CatalogueError
from services.billing.credits import packs
from services.billing.credits.catalogue import FILE, find_credits, load_credits
from shared.db import Database
from shared.money import Money
from tests.fixtures.postgres import ServiceDatabase
from tests.services.billing.catalogue.family import family
from tests.services.billing.catalogue.test_check import check
from tests.services.billing.world import Team, running

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
    assert re.match(rf"credits\.yaml:{line}:\d+: {re.escape(place)}: ", str(refused.value))


@pytest.mark.parametrize("text", ["", "packs: [", "- 1", "packs: !!python/name:os.system"])
def test_what_is_no_catalogue(tmp_path: Path, text: str) -> None:
    path = tmp_path / "credits.yaml"
    path.write_text(text)
    with pytest.raises(CatalogueError, match=r"credits\.yaml:1:\d+: "):
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


OWN = FILE.read_text().replace('EUR: "4.99", ', 'EUR: "4.50", CHF: "4.20", ').replace("code: small", "code: handful")


async def test_credits_of_one_s_own(billing_db: ServiceDatabase, tmp_path: Path) -> None:
    """Beside the plans of one's own; what is shipped is for families without."""
    assert find_credits(family(tmp_path)) == FILE
    (tmp_path / FILE.name).write_text(OWN)
    async with running(billing_db, plan_catalogue=str(tmp_path)) as world:
        team = Team()
        _, body = await world.call("GET", "/api/credits/packs", who=team.principal)
        assert [pack["code"] for pack in body["items"]] == ["handful", "medium", "large"]
        wanted = {"pack": "handful", "method": "credit_card", "return_url": "/app"}
        status, payment = await world.call("POST", "/api/credits/purchase", wanted, who=team.principal)
        assert (status, payment["amount"], payment["currency"]) == (201, "4.50", "EUR")


def test_a_check_reads_them(tmp_path: Path) -> None:
    (family(tmp_path) / FILE.name).write_text(OWN)
    assert check(f"{tmp_path}") == (0, *check(f"{tmp_path}")[1:2], [])
    (tmp_path / FILE.name).write_text(OWN.replace("cost: 5", "cost: many").replace('"19.99"', '"19.999"'))
    code, _, wrong = check(f"{tmp_path}")
    assert (code, [line.split(": ")[:2] for line in wrong[1:]]) == (
        *(1, [["  credits.yaml:14:5", "packs.1.prices"], ["  credits.yaml:24:71", "uses.traffic_gb.cost"]]),
    )


def test_every_pack_is_sold_in_the_installations_currency(tmp_path: Path) -> None:
    (family(tmp_path) / FILE.name).write_text(OWN)
    with pytest.raises(CatalogueError) as refused:
        load_credits(tmp_path / FILE.name, "CHF")
    assert [str(problem) for problem in refused.value.problems] == [
        "credits.yaml:14:5: packs.1.prices: there is none in CHF (CURRENCY)",
        "credits.yaml:20:5: packs.2.prices: there is none in CHF (CURRENCY)",
    ]
    with pytest.raises(CatalogueError, match="beside the plans"):
        load_credits(currency="CHF")
    assert check("default", "--currency", "CHF")[0] == 1


def test_what_stands_there_twice(tmp_path: Path) -> None:
    (tmp_path / FILE.name).write_text(FILE.read_text() + "grant_priority: 1\n")
    with pytest.raises(CatalogueError, match="grant_priority: stands there twice"):
        load_credits(tmp_path / FILE.name)
