"""The families that are shipped, families of one's own, and versions side by side."""

from pathlib import Path

import pytest

from services.billing.catalogue.loader import FOLDER, CatalogueError, families, find_family, load
from services.billing.catalogue.plan import Plan
from tests.services.billing.catalogue.family import PRICE, family, put

GB = 1024**3


def storage(name: str) -> dict[str, int | None]:
    return {code: plan.entitlements.storage_bytes for code, plan in load(find_family(name)).plans.items()}


def test_the_default_family() -> None:
    """S4.9; the digests are those that are in the databases of installations."""
    plans = load().plans
    assert {code: plan.digest[:16] for code, plan in plans.items()} == {
        "free": "64c8b9f2759a5eb9",
        "pro": "48c74923c353ac7d",
    }
    (price,) = plans["pro"].prices
    assert (price.money.amount, price.money.text, price.currency, price.interval) == (300, "3.00", "EUR", "month")


def test_the_family_with_tiers() -> None:
    """S0.6."""
    tiers = {"basic": 5 * GB, "tier1": 10 * GB, "tier2": 20 * GB, "tier3": 50 * GB, "tier4": 100 * GB}
    assert storage("tiers") == tiers
    family = load(find_family("tiers"))
    assert family.default.code == "basic"
    assert [plan.code for plan in family.plans.values() if not plan.prices] == ["basic"]


def test_the_family_for_businesses() -> None:
    """S1.4, to the byte."""
    free, *sold = storage("business").items(), 100 * 1024**2
    assert dict(free) == {
        "free": sold[0],
        "starter": 5368709120,
        "professional": 53687091200,
        "business": 107374182400,
        "enterprise": None,
    }
    family = load(find_family("business"))
    assert family.default.code == "free"
    assert {code for code, plan in family.plans.items() if plan.entitlements.isolation == "schema"} == {"enterprise"}


def test_the_family_with_images() -> None:
    """S2.1; the digests are those that are in the databases of installations."""
    family = load(find_family("images"))
    images = {code: plan.entitlements.images_month for code, plan in family.plans.items()}
    assert images == {"essential": 0, "pro": 50, "elite": None, "intelia": None, "free": 0}
    assert family.default.code == "essential"
    assert {code for code, plan in family.plans.items() if not plan.public} == {"intelia", "free"}
    assert {code: plan.digest[:16] for code, plan in family.plans.items()} == {
        "elite": "91c90904b92d7fae",
        "essential": "97b0c9988d362bef",
        "intelia": "57f62b7918f685e8",
        "free": "c44d7273eee34810",
        "pro": "d860741404a858e2",
    }


def test_the_families_can_follow_each_other() -> None:
    """A version of a plan says one thing, in whichever of them it stands: an installation may have had another one."""
    assert families() == ["business", "default", "images", "tiers"]
    said: dict[tuple[str, int], set[str]] = {}
    for plan in (plan for name in families() for plan in load(FOLDER / name).versions.values()):
        said.setdefault(plan.key, set()).add(plan.digest)
    assert len(said) == 16
    assert {key for key, digests in said.items() if len(digests) > 1} == set()


@pytest.mark.parametrize("name", ["gold", "", ".", "__pycache__", "credits.yaml"])
def test_a_family_that_is_none(name: str) -> None:
    with pytest.raises(CatalogueError, match="only business, default, images, tiers, or a path"):
        find_family(name)


def test_a_family_of_ones_own(tmp_path: Path) -> None:
    assert load(find_family(f"{family(tmp_path)}")).plans.keys() == {"free", "pro"}
    with pytest.raises(CatalogueError, match=r"^PLAN_CATALOGUE: there is no folder \./nowhere$"):
        find_family("./nowhere")


def test_credits_beside_plans_are_passed_by(tmp_path: Path) -> None:
    (family(tmp_path) / "credits.yaml").write_text("packs: []")
    assert load(tmp_path).plans.keys() == {"free", "pro"}


def test_types_and_days_of_trash_are_sold(tmp_path: Path) -> None:
    sold = "images_month: 50\n  allowed_types: [image/*, application/pdf]\n  trash_days: 30"
    rights = load(family(tmp_path, put("images_month: null", sold))).plans["pro"].entitlements
    assert (rights.images_month, rights.allowed_types, rights.trash_days) == (50, ("image/*", "application/pdf"), 30)


def test_the_newest_version_is_sold_and_old_ones_stay(tmp_path: Path) -> None:
    text = (family(tmp_path) / "pro.yaml").read_text()
    (tmp_path / "pro.1.yaml").write_text(text)
    (tmp_path / "pro.yaml").write_text(text.replace("version: 1", "version: 3").replace('"3.00"', '"4.00"'))
    (tmp_path / "pro.2.yaml").write_text(text.replace("version: 1", "version: 2\npublic: false"))
    catalogue = load(tmp_path)
    assert list(catalogue.versions) == [("free", 1), ("pro", 1), ("pro", 2), ("pro", 3)]
    assert {code: plan.version for code, plan in catalogue.plans.items()} == {"free": 1, "pro": 3}
    assert catalogue.find("pro") is catalogue.versions["pro", 3]


@pytest.mark.parametrize(
    ("file", "version", "told"),
    [
        ("pro.1", 1, "pro.1.yaml:2:10: version: 1 is not older than pro.yaml, which is what is sold"),
        ("pro.2", 2, "pro.2.yaml:2:10: version: 2 is not older than pro.yaml, which is what is sold"),
        ("pro.2", 3, "pro.2.yaml:2:10: version: 3, but the file is named pro.2.yaml"),
        ("pro.old", 1, "pro.old.yaml:2:10: version: 1, but the file is named pro.old.yaml"),
        ("gold.1", 1, "gold.1.yaml:1:7: code: pro, but the file is named gold.1.yaml"),
    ],
)
def test_versions_in_the_wrong_place(tmp_path: Path, file: str, version: int, told: str) -> None:
    text = (family(tmp_path) / "pro.yaml").read_text()
    (tmp_path / f"{file}.yaml").write_text(text.replace("version: 1", f"version: {version}"))
    with pytest.raises(CatalogueError) as raised:
        load(tmp_path)
    assert str(raised.value) == told


def test_an_old_version_alone_sells_nothing(tmp_path: Path) -> None:
    (family(tmp_path) / "pro.yaml").rename(tmp_path / "pro.1.yaml")
    with pytest.raises(CatalogueError, match=r"^pro.1.yaml: is an old version; what is sold must be in pro.yaml$"):
        load(tmp_path)


def test_a_plan_withdrawn_from_sale_is_the_same_plan(tmp_path: Path) -> None:
    hidden = load(family(tmp_path, put("version: 1", "version: 1\npublic: false"))).plans["pro"]
    assert not hidden.public
    assert hidden.digest == load().plans["pro"].digest


def test_what_was_stored_when_a_plan_had_one_price() -> None:
    plan = load().plans["pro"]
    definition = plan.model_dump(mode="json")
    (price,) = definition.pop("prices")
    del definition["entitlements"]["isolation"]
    stored = Plan.stored({**definition, "price": price})
    assert (stored, stored.digest) == (plan, plan.digest)
    free = load().plans["free"]
    definition = free.model_dump(mode="json", exclude={"prices"})
    assert Plan.stored({**definition, "price": None}) == free


def test_the_price_that_is_shown(tmp_path: Path) -> None:
    more = '{ amount: "30.00", currency: EUR, interval: year }\n  - { amount: "4000", currency: JPY, interval: year }'
    catalogue = load(family(tmp_path, put(PRICE, f"{PRICE}\n  - {more}")))
    plan = catalogue.plans["pro"]
    shown = {
        (currency, interval): f"{price.amount} {price.currency} a {price.interval}"
        for currency in (None, "JPY", "USD")
        for interval in (None, "month", "year")
        if (price := catalogue.price_of(plan, currency, interval)) is not None
    }
    euros = {None: "3.00 EUR a month", "month": "3.00 EUR a month", "year": "30.00 EUR a year"}
    expected = {(currency, interval): text for currency in (None, "USD") for interval, text in euros.items()}
    assert shown == expected | dict.fromkeys([("JPY", None), ("JPY", "month"), ("JPY", "year")], "4000 JPY a year")
    assert catalogue.price_of(catalogue.default, "JPY") is None
