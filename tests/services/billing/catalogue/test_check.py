"""`stowage catalogue check`, as it is typed."""

import os
import subprocess
import sys
from pathlib import Path

from services.billing.catalogue.loader import DEFAULT
from shared.db.migrate import ROOT
from tests.services.billing.catalogue.family import family, put


def check(*words: str, **told: str) -> tuple[int, list[str], list[str]]:
    """Exit code, what it says and what it complains of."""
    command = [sys.executable, "-m", "deploy.local.cli", "catalogue", "check", *words]
    environment = {"PATH": os.environ["PATH"], **told}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


def test_what_is_shipped_is_in_order() -> None:
    code, said, wrong = check()
    assert (code, wrong) == (0, [])
    assert [line for line in said if line.endswith(": in order")] == [
        f"{name}: in order" for name in ("business", "default", "images", "tiers")
    ]
    (row,) = [line.split() for line in said if line.startswith("  tier1")]
    assert " ".join(row[:15]) == "tier1 1 yes 2.00 EUR a month, 20.00 EUR a year, 1300 XOF a month"
    (row,) = [line.split() for line in said if line.startswith("  enterprise")]
    assert row[-5:] == ["unlimited"] * 5


def test_everything_that_is_wrong(tmp_path: Path) -> None:
    code, said, wrong = check(f"{family(tmp_path, put('cpu: 4', 'cpus: 4'))}")
    assert (code, said) == (1, [])
    assert wrong == [
        f"{tmp_path}: 1 wrong",
        "  pro.yaml:10:3: entitlements.cpus: there is no such entitlement; did you mean cpu?",
    ]


def test_another_plan_under_a_shipped_one_s_number(tmp_path: Path) -> None:
    """An installation that has sold the shipped one would not start with this."""
    code, _, wrong = check(f"{family(tmp_path, put('3.00', '4.00'))}")
    assert (code, wrong[1:]) == (
        1, ["  pro.yaml:2:10: version: 1 is another plan in the family default; take a higher one"]
    )  # fmt: skip
    assert check(f"{family(tmp_path)}")[0] == 0


def test_old_versions_are_listed_below_what_is_sold(tmp_path: Path) -> None:
    newer = put("version: 1", "version: 3")
    (family(tmp_path, newer) / "pro.1.yaml").write_text((DEFAULT / "pro.yaml").read_text())
    code, said, _ = check(f"{tmp_path}")
    assert (code, [line.split()[:3] for line in said if line.startswith("  pro")]) == (
        0, [["pro", "3", "yes"], ["pro", "1", "no"]]
    )  # fmt: skip


def test_the_currency_and_a_family_there_is_none_of() -> None:
    assert check("tiers", "--currency", "XOF")[0] == 0
    code, _, wrong = check("tiers", CURRENCY="USD")
    assert (code, wrong[1]) == (1, "  tier1.yaml:4:1: prices: there is none in USD (CURRENCY)")
    assert (check("gold")[0], check("/nowhere/at/all")[0]) == (1, 1)
