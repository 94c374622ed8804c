"""Folders of plans, made for one test."""

from collections.abc import Callable
from pathlib import Path

from services.billing.catalogue.loader import DEFAULT


def family(path: Path, change: Callable[[str], str] = lambda text: text, name: str = "pro") -> Path:
    """A copy of the default family with one file changed."""
    for source in DEFAULT.glob("*.yaml"):
        text = source.read_text()
        (path / source.name).write_text(change(text) if source.stem == name else text)
    return path


def put(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


PRICE = '{ amount: "3.00", currency: EUR, interval: month }'
