"""Which files of a folder the demo takes, and what they are filed under."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

SKIPPED = {".git", ".venv", ".stowage", ".cache", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache"}
BUDGET = 40 * 1024 * 1024  # bytes; the Free plan holds 100 MB and the demo still wants to fill it step by step
CATEGORIES = {".png": "avatars", ".svg": "avatars", ".py": "projects", ".md": "documents"}


def choose(folder: Path, budget: int = BUDGET) -> list[Path]:
    """Files below `folder`, the smallest first, as many as the budget holds; empty ones too, hidden tools' not."""
    found = sorted(_walk(folder), key=lambda path: (path.stat().st_size, str(path)))
    chosen, total = [], 0
    for path in found:
        total += path.stat().st_size
        if total > budget:
            break
        chosen.append(path)
    return chosen


def category(path: Path) -> str:
    return CATEGORIES.get(path.suffix, "documents")


def filler(size: int) -> bytes:
    """Bytes nobody can compress, the same in every run."""
    return random.Random(size).randbytes(size)  # noqa: S311 - ballast, not a secret


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        for name in names:
            path = Path(place, name)
            if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK):
                yield path
