"""Benchmarks run seldom: what breaks them is to break here."""

import importlib
import inspect

import pytest

from shared.db.migrate import ROOT
from tests.fixtures.postgres import PostgresServer

WITH_ROWS = sorted(
    file.stem for file in (ROOT / "benchmarks").glob("*.py") if "\nasync def run(" in file.read_text("utf-8")
)


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `python -m benchmarks` finds them."""
    monkeypatch.syspath_prepend(ROOT)


@pytest.mark.parametrize("name", WITH_ROWS)
def test_it_can_be_loaded(name: str) -> None:
    assert inspect.iscoroutinefunction(importlib.import_module(f"benchmarks.{name}").run)


def test_none_is_left_out() -> None:
    assert sorted(importlib.import_module("benchmarks.__main__").NAMES) == WITH_ROWS


async def test_callbacks_with_all_settings_that_billing_wants(
    pg: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import callbacks

    for name, value in {"SECONDS": 0.2, "ROUNDS": 1, "CLIENTS": 4}.items():
        monkeypatch.setattr(callbacks, name, value)
    (row,) = await callbacks.run(pg)
    assert row.ours > 0
