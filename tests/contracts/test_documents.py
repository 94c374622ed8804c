"""Generated documents are the code's, and what the code promises about consumers holds everywhere."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_openapi_document_is_the_code() -> None:
    """`python -m deploy.openapi > docs/openapi.json` after a change of routes."""
    made = subprocess.run([sys.executable, "-m", "deploy.openapi"], cwd=ROOT, capture_output=True, check=True).stdout
    assert json.loads(made) == json.loads((ROOT / "docs" / "openapi.json").read_text())


def test_every_subscriber_says_when_it_acknowledges() -> None:
    """FastStream's default acknowledges a message whose handler failed."""
    found = 0
    for file in [*ROOT.glob("shared/**/*.py"), *ROOT.glob("services/**/*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "subscriber":
                found += 1
                policy = next((ast.unparse(k.value) for k in node.keywords if k.arg == "ack_policy"), None)
                assert policy == "AckPolicy.MANUAL", f"{file}:{node.lineno}"
    assert found >= 1


def test_the_requirements_name_tests_that_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "requirements.md").read_text())
    assert len(named) > 25
    missing = [f"{file}::{name}" for file, name in named if f"def {name}(" not in (ROOT / file).read_text()]
    assert missing == []


def test_whatever_the_documents_link_to_is_there() -> None:
    """Files, pictures and headings; what lies elsewhere is nobody's promise here."""
    pages = [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
    links = [(page, target) for page in pages for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text())]
    own = [(page, target) for page, target in links if "://" not in target and not target.startswith("mailto:")]
    assert len(own) > 20
    assert [f"{page.relative_to(ROOT)}: {target}" for page, target in own if not _leads_somewhere(page, target)] == []


def _leads_somewhere(page: Path, target: str) -> bool:
    file, _, heading = target.partition("#")
    found = page.parent / file if file else page
    return found.exists() and (not heading or heading in _headings(found))


def _headings(page: Path) -> set[str]:
    """As GitHub names them in links."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
