"""A fresh clone needs nothing that is not in requirements.lock, and that file names no address."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OURS = ("services", "shared", "deploy", "tests", "benchmarks")

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)
_ADDRESS = re.compile(r"\w+://|^\s*(--(extra-)?index-url|--find-links|--trusted-host|-[if])\b|\s@\s", re.MULTILINE)
_NAME = re.compile(r"^[A-Za-z0-9._-]+")


def main() -> int:
    lock = (ROOT / "requirements.lock").read_text()
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())
    problems = [*addresses(lock), *undeclared(wanted, lock), *strangers(ROOT, lock, packages_distributions())]
    for problem in problems:
        print(problem, file=sys.stderr)  # noqa: T201 - this is a command
    return 1 if problems else 0


def addresses(lock: str) -> Iterator[str]:
    """Lines that would bind the lock to one place to download from."""
    for found in _ADDRESS.finditer(lock):
        line = lock.count("\n", 0, found.end()) + 1
        yield f"requirements.lock:{line}: holds an address or a source"


def undeclared(project: Mapping[str, Mapping[str, object]], lock: str) -> Iterator[str]:
    """Dependencies of pyproject.toml the lock does not have: it is older than they are."""
    pinned = _pinned(lock)
    extras = project["project"].get("optional-dependencies", {})
    groups = [project["project"]["dependencies"], *(extras.values() if isinstance(extras, dict) else ())]
    for requirement in (text for group in groups if isinstance(group, list) for text in group):
        name = _NAME.match(requirement)
        if name is None or _normal(name[0]) not in pinned:
            yield f"pyproject.toml: {requirement} is not in requirements.lock; run `make lock`"


def strangers(root: Path, lock: str, providers: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Imports of ours that no locked package provides."""
    pinned = _pinned(lock)
    for file in sorted(path for folder in OURS for path in (root / folder).rglob("*.py")):
        for line, module in imports(file.read_text()):
            top = module.partition(".")[0]
            if top in sys.stdlib_module_names or top in OURS:
                continue
            if not any(_normal(provider) in pinned for provider in providers.get(top, ())):
                yield f"{file.relative_to(root)}:{line}: {module} is of no package in requirements.lock"


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Line and absolute module of each import statement, wherever it stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module


def _pinned(lock: str) -> set[str]:
    return {_normal(name) for name in _PINNED.findall(lock)}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
