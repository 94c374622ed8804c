"""Plans as files: what is wrong is said in one line, and what was sold never changes."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from services.billing.catalogue.loader import DEFAULT, FOLDER, CatalogueError, find_family, load
from services.billing.plans import repository
from shared.db import Database
from shared.db.migrate import ROOT
from tests.fixtures.postgres import ServiceDatabase, query


def folder(path: Path, change: Callable[[str], str] = lambda text: text, name: str = "pro") -> Path:
    """A copy of the catalogue with one file changed."""
    for source in DEFAULT.glob("*.yaml"):
        text = source.read_text()
        (path / source.name).write_text(change(text) if source.stem == name else text)
    return path


def test_the_catalogue_is_in_order() -> None:
    catalogue = load()
    assert sorted(catalogue.plans) == ["free", "pro"]
    assert catalogue.default.code == "free"
    price = catalogue.plans["pro"].price
    assert price is not None
    assert (price.money.amount, price.money.text, price.currency, price.interval) == (300, "3.00", "EUR", "month")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"3.00"', '"3.001"', "pro.yaml:4: price: "),
        ('"3.00"', '"0"', "more than nothing"),
        ('"3.00"', "3.00", "pro.yaml:4: amount: "),
        ("EUR", "euro", "pro.yaml:4: price: "),
        ("month }", "week }", "pro.yaml:4: interval: "),
        ("cpu: 4", "cpu: many", "pro.yaml:9: cpu: "),
        ("cpu: 4", "cpus: 4", "cpu"),
        ("images_month: null", "images_month: -1", "pro.yaml:13: images_month: "),
        ("images_month: null", "images_month: null\n  trash_days: -1", "pro.yaml:14: trash_days: "),
        ("images_month: null", "images_month: null\n  allowed_types: [image/png, png]", "pro.yaml:14: allowed_types: "),
        ("images_month: null", "images_month: null\n  allowed_types: []", "pro.yaml:14: allowed_types: "),
        ("version: 1", "version: 0", "pro.yaml:2: version: "),
        ("name: Pro", "name: Pro\n  bad: [", "not YAML"),
        ("code: pro", "code: Pro Plan", "pro.yaml:1: code: "),
        ("name: Pro", "name: Pro\ndefault: true", "exactly one default plan"),
        ("name: Pro", "name: Pro\npublic: maybe", "pro.yaml:4: public: "),
        ("code: pro", "code: free", "free"),
    ],
)
def test_one_line_says_what_is_wrong(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(CatalogueError) as raised:
        load(folder(tmp_path, lambda text: text.replace(old, new, 1)))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_types_and_days_of_trash_are_sold(tmp_path: Path) -> None:
    sold = "images_month: 50\n  allowed_types: [image/*, application/pdf]\n  trash_days: 30"
    rights = load(folder(tmp_path, lambda text: text.replace("images_month: null", sold))).plans["pro"].entitlements
    assert (rights.images_month, rights.allowed_types, rights.trash_days) == (50, ("image/*", "application/pdf"), 30)


def test_plans_from_before_they_were_sold_are_the_same_plans() -> None:
    """The digests that are in the databases of installations."""
    digests = {code: plan.digest[:16] for code, plan in load().plans.items()}
    assert digests == {"free": "64c8b9f2759a5eb9", "pro": "48c74923c353ac7d"}


def test_the_family_with_images() -> None:
    """S2.1."""
    family = load(find_family("images"))
    images = {code: plan.entitlements.images_month for code, plan in family.plans.items()}
    assert images == {"essential": 0, "pro": 50, "elite": None, "intelia": None, "free": 0}
    assert family.default.code == "essential"
    assert {code for code, plan in family.plans.items() if not plan.public} == {"intelia", "free"}


def test_the_families_can_follow_each_other() -> None:
    """A version of a plan says one thing, in whichever of them it stands: an installation may have had another one."""
    versions = Counter(
        (plan.code, plan.version)
        for folder in {path.parent for path in FOLDER.glob("*/*.yaml")}
        for plan in load(folder).plans.values()
    )
    assert len(versions) == 7
    assert set(versions.values()) == {1}


@pytest.mark.parametrize("name", ["gold", "", ".", "../catalogue", "__pycache__"])
def test_a_family_that_is_none(name: str) -> None:
    with pytest.raises(CatalogueError, match="only default, images"):
        find_family(name)


def test_a_plan_withdrawn_from_sale_is_the_same_plan(tmp_path: Path) -> None:
    hidden = load(folder(tmp_path, lambda text: text.replace("version: 1", "version: 1\npublic: false")))
    assert not hidden.plans["pro"].public
    assert hidden.plans["pro"].digest == load().plans["pro"].digest


def test_nothing_is_no_catalogue(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="exactly one default plan"):
        load(tmp_path)


async def test_what_was_sold_says_the_same_for_ever(billing_db: ServiceDatabase, tmp_path: Path) -> None:
    async with Database(billing_db.app) as database:
        for _ in range(2):
            async with database.transaction() as connection:
                await repository.register(connection, load())
        dearer = load(folder(tmp_path, lambda text: text.replace('"3.00"', '"4.00"')))
        with pytest.raises(CatalogueError, match="plan pro version 1 was changed in place"):
            async with database.transaction() as connection:
                await repository.register(connection, dearer)
        newer = load(
            folder(tmp_path, lambda text: text.replace('"3.00"', '"4.00"').replace("version: 1", "version: 2"))
        )
        async with database.transaction() as connection:
            await repository.register(connection, newer)
            old, new = [await repository.get(connection, "pro", version) for version in (1, 2)]
    assert (old.price, new.price) == (load().plans["pro"].price, newer.plans["pro"].price)


@pytest.mark.parametrize("process", ["main", "worker"])
async def test_a_process_refuses_to_start_with_one_line(billing_db: ServiceDatabase, process: str) -> None:
    sql = "INSERT INTO plan (code, version, name, digest, definition) VALUES ('pro', 1, 'Pro', 'other', '{}')"
    await query(billing_db.app, sql)
    line = "billing: plan pro version 1 was changed in place: give it a new version\n"
    assert await start(billing_db, process) == (os.EX_CONFIG, "", line)


async def test_a_process_refuses_to_sell_plans_there_are_none_of(billing_db: ServiceDatabase) -> None:
    line = "billing: PLAN_CATALOGUE: there is no 'gold', only default, images\n"
    assert await start(billing_db, "main", PLAN_CATALOGUE="gold") == (os.EX_CONFIG, "", line)


async def start(dsn: ServiceDatabase, process: str, **told: str) -> tuple[int, str, str]:
    """Of a process that ends by itself: its code, and what it said."""
    environment = {
        "PATH": os.environ["PATH"],
        "MODE": "local",
        "PORT": "0",
        "DATABASE_URL": dsn.app if process == "main" else dsn.worker,
        "KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "INTERNAL_SECRET": "0" * 32,
        "BASE_URL": "http://127.0.0.1:1",
        "PAYMENT_BACKEND_URL": "http://127.0.0.1:1",
        "PAYMENT_API_KEY": "0" * 32,
        "PAYMENT_SIGNING_SECRETS": "whsec_" + "A" * 32,
        **told,
    }
    command = [sys.executable, "-m", f"services.billing.{process}"]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    return done.returncode, done.stdout, done.stderr
