"""What is kept of benchmarks: the last of each, with its date; and a page whose figures are of the same run."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from shared.db.migrate import ROOT

ORDER = ["relay", "consumer", "growth"]
OLD = {"date": "2026-11-21", "cores": 2}
NEW = {"date": "2026-11-30", "cores": 4}


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `python -m benchmarks` finds them."""
    monkeypatch.syspath_prepend(ROOT)


@pytest.fixture
def report() -> Any:
    return importlib.import_module("benchmarks.report")


@pytest.fixture
def growth() -> Any:
    return importlib.import_module("benchmarks.growth")


def row(path: str, ours: float) -> Any:
    made = importlib.import_module("benchmarks.report").Row
    return made(path, "records/s", ours, None, None, "1.00 × raw", "≥ 0.5 × raw", met=True)


@pytest.fixture
def results(report: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    return tmp_path


def lines(results: Path) -> list[str]:
    return [line for line in (results / "latest.md").read_text().splitlines() if "records/s" in line]


def test_one_benchmark_renews_its_own_rows(report: Any, results: Path) -> None:
    report.keep("consumer", [row("counting", 1_000), row("counting twice", 2_000)], OLD, ORDER)
    report.keep("relay", [row("publishing", 3_000)], OLD, ORDER)
    report.keep("consumer", [row("counting", 4_000)], NEW, ORDER)
    publishing, counting = lines(results)
    assert "| publishing |" in publishing
    assert publishing.endswith("| 2026-11-21 |")
    assert "| counting | records/s | 4,000 |" in counting
    assert counting.endswith("| 2026-11-30 |")
    page = (results / "latest.md").read_text()
    assert "- date 2026-11-21 · cores 2\n- date 2026-11-30 · cores 4\n" in page


def test_what_was_never_measured_is_not_shown(report: Any, results: Path) -> None:
    report.keep("growth", [row("counting for one tenant alone", 1)], NEW, ORDER)
    assert len(lines(results)) == 1


def test_the_page_of_growth_shows_what_was_drawn(growth: Any) -> None:
    page = growth.PAGE.read_text()
    curves = [growth.Curve("consumers", "consumers, 12 partitions", {1: 20_000.0, 2: 30_000.0})]
    renewed = growth.renewed(page, growth.figures(curves))
    assert "| consumers, 12 partitions | 2 | 30,000 | 1.50 × |" in renewed
    assert "| tenants, all of them busy |" not in renewed
    assert growth.renewed(renewed, "x").startswith(page.partition(growth.BEGIN)[0])
    assert renewed.partition(growth.END)[2] == page.partition(growth.END)[2] != ""


def test_the_pictures_of_growth_are_of_the_figures_beside_them(growth: Any) -> None:
    """Both are written in one run; by hand neither is."""
    told = growth.PAGE.read_text().partition(growth.BEGIN)[2].partition(growth.END)[0]
    for name, across in (
        ("tenants", "tenants, all of them busy"),
        ("partitions", "partitions, one consumer"),
        ("consumers", "consumers, 12 partitions"),
    ):
        speeds = [line.split("|")[3].strip() for line in told.splitlines() if line.startswith(f"| {across} |")]
        picture = (growth.PICTURES / f"growth-{name}.svg").read_text()
        assert len(speeds) > 3
        assert [speed for speed in speeds if f">{speed}</text>" not in picture] == []
