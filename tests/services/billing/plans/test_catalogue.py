"""What was sold never changes, and a process that would change it does not start."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.billing.catalogue.loader import CatalogueError, load
from services.billing.plans import repository
from shared.db import Database
from shared.db.migrate import ROOT
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.billing.catalogue.family import family, put


async def test_what_was_sold_says_the_same_for_ever(billing_db: ServiceDatabase, tmp_path: Path) -> None:
    async with Database(billing_db.app) as database:
        for _ in range(2):
            async with database.transaction() as connection:
                await repository.register(connection, load())
        dearer = load(family(tmp_path, put('"3.00"', '"4.00"')))
        with pytest.raises(CatalogueError, match="plan pro version 1 was changed in place"):
            async with database.transaction() as connection:
                await repository.register(connection, dearer)
        newer = load(
            family(tmp_path, lambda text: text.replace('"3.00"', '"4.00"').replace("version: 1", "version: 2"))
        )
        async with database.transaction() as connection:
            await repository.register(connection, newer)
            old, new = [await repository.get(connection, "pro", version) for version in (1, 2)]
    assert (old.prices, new.prices) == (load().plans["pro"].prices, newer.plans["pro"].prices)


async def test_old_versions_are_held_to_what_they_said(billing_db: ServiceDatabase, tmp_path: Path) -> None:
    text = (family(tmp_path) / "pro.yaml").read_text()
    (tmp_path / "pro.yaml").write_text(text.replace("version: 1", "version: 2"))
    (tmp_path / "pro.1.yaml").write_text(text)
    async with Database(billing_db.app) as database:
        async with database.transaction() as connection:
            await repository.register(connection, load(tmp_path))
        (tmp_path / "pro.1.yaml").write_text(text.replace("projects: null", "projects: 9"))
        with pytest.raises(CatalogueError, match="plan pro version 1 was changed in place"):
            async with database.transaction() as connection:
                await repository.register(connection, load(tmp_path))


async def test_a_definition_from_when_a_plan_had_one_price(billing_db: ServiceDatabase) -> None:
    """As the first release stored it, and with its digest: it is the same plan."""
    pro = load().plans["pro"]
    definition = pro.model_dump(mode="json", exclude={"prices"})
    del definition["entitlements"]["isolation"]
    definition["price"] = {"amount": "3.00", "currency": "EUR", "interval": "month"}
    async with Database(billing_db.app) as database, database.transaction() as connection:
        await connection.execute(repository._INSERT, "pro", 1, "Pro", pro.digest, definition)
        await repository.register(connection, load())
        assert await repository.get(connection, "pro", 1) == pro


@pytest.mark.parametrize("process", ["main", "worker"])
async def test_a_process_refuses_to_start_with_one_line(billing_db: ServiceDatabase, process: str) -> None:
    sql = "INSERT INTO plan (code, version, name, digest, definition) VALUES ('pro', 1, 'Pro', 'other', '{}')"
    await query(billing_db.app, sql)
    line = "billing: plan pro version 1 was changed in place: give it a new version\n"
    assert await start(billing_db, process) == (os.EX_CONFIG, "", line)


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (
            {"PLAN_CATALOGUE": "gold"},
            "PLAN_CATALOGUE: there is no 'gold', only business, default, images, tiers, or a path with a / to a folder",
        ),
        ({"PLAN_CATALOGUE": "/nowhere"}, "PLAN_CATALOGUE: there is no folder /nowhere"),
        ({"CURRENCY": "USD"}, "pro.yaml:4:1: prices: there is none in USD (CURRENCY)"),
    ],
)
async def test_a_process_refuses_to_sell_plans_there_are_none_of(
    billing_db: ServiceDatabase, told: dict[str, str], line: str
) -> None:
    assert await start(billing_db, "main", **told) == (os.EX_CONFIG, "", f"billing: {line}\n")


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
        "USAGE_URL": "http://127.0.0.1:1",
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
