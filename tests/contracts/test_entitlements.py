"""Everything that plans can sell is in the manual, with who holds tenants to it and the test that shows it."""

import ast
import re
from pathlib import Path

from shared.events import Entitlements

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| `(\w+)` \|(.*)\| `(tests/[\w/]+\.py)::(\w+)` \|$", re.MULTILINE)


def test_each_entitlement_names_who_enforces_it_and_a_test_that_exists() -> None:
    _, _, manual = (ROOT / "docs" / "billing.md").read_text().partition("\n## Entitlements\n")
    rows = ROW.findall(manual.partition("\n## ")[0])
    assert [name for name, *_ in rows] == list(Entitlements.model_fields)
    for name, how, file, test in rows:
        assert (ROOT / file).exists(), f"{name}: there is no {file}"
        tests = {node.name for node in ast.walk(ast.parse((ROOT / file).read_text())) if hasattr(node, "name")}
        assert test in tests, f"{name}: there is no {test} in {file}"
        assert re.search(r"\b(upload|usage|gateway|billing): ", how), f"{name}: by whom?"
