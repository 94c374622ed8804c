"""What is wrong in a file, and where; what pydantic says of it in words for whoever wrote the file."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel

from services.billing.catalogue.plan import Plan, Price, Rights

_LIMITS = {name for name, field in Rights.model_fields.items() if field.is_required()} - {"custom_domains"}


@dataclass(frozen=True, slots=True)
class Problem:
    """`line` and `column` count from 1; 0 where there is none. `file` is empty where it is about the family."""

    file: str
    text: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = "".join(f":{number}" for number in (self.line, self.column) if number)
        return f"{self.file}{place}: {self.text}" if self.file else self.text


def at(file: str, mark: yaml.Mark | None, text: str) -> Problem:
    return Problem(file, text, mark.line + 1, mark.column + 1) if mark else Problem(file, text)


def after(file: str, read: str, text: str) -> Problem:
    """At the character that follows what could be read."""
    return Problem(file, text, read.count("\n") + 1, len(read) - read.rfind("\n"))


def explain(file: str, root: yaml.Node, errors: Sequence[Any]) -> Iterator[Problem]:
    """`errors` are pydantic's."""
    meant = {_meant(error) for error in errors if error["type"] == "extra_forbidden"}
    for error in errors:
        loc, kind = error["loc"], error["type"]
        if kind == "missing" and loc in meant:
            continue  # it is there, misspelt: one mistake, told once
        yield at(file, place(root, loc, key=kind == "extra_forbidden"), f"{_path(loc)}: {_say(error)}")


def place(root: yaml.Node, loc: Sequence[str | int], *, key: bool = False) -> yaml.Mark:
    """Of the value, or of what it would stand in; of its name where `key` is wanted, or the value has several lines."""
    node, mark = root, root.start_mark
    for part in loc:
        step = _step(node, part)
        if step is None:
            break
        name, node = step
        mark = node.start_mark if isinstance(node, yaml.ScalarNode) and not key else name.start_mark
    return mark


def _step(node: yaml.Node, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
        return node.value[part], node.value[part]
    if isinstance(node, yaml.MappingNode):
        return next(((name, value) for name, value in node.value if name.value == str(part)), None)
    return None


def _say(error: Any) -> str:
    match error["type"]:
        case "extra_forbidden":
            meant = _meant(error)
            noun = "entitlement" if error["loc"][0] == "entitlements" else "field"
            said = f"there is no such {noun}" + (f"; did you mean {meant[-1]}?" if meant else "")
        case "missing":
            said = "is missing" + ("; null is unlimited" if error["loc"][-1] in _LIMITS else "")
        case "literal_error":
            close = difflib.get_close_matches(str(error["input"]), ("month", "year", "shared", "schema"), 1)
            said = f"wanted {error['ctx']['expected']}" + (f"; did you mean {close[0]}?" if close else "")
        case "string_type" if isinstance(error["input"], int | float):
            said = 'wanted text: put it in quotes, as in "3.00"'
        case "tuple_type":
            said = "wanted a list"
        case "model_type":
            said = "wanted names with values"
        case _:
            said = str(error["msg"]).removeprefix("Value error, ")
    return said


def _meant(error: Any) -> tuple[str | int, ...]:
    """Where the field stands that was probably meant; empty when none is like it."""
    loc = error["loc"]
    parts: dict[str, type[BaseModel]] = {"entitlements": Rights, "prices": Price}
    model = parts.get(str(loc[0]), Plan) if len(loc) > 1 else Plan
    close = difflib.get_close_matches(str(loc[-1]), list(model.model_fields), 1)
    return (*loc[:-1], close[0]) if close else ()


def _path(loc: Sequence[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return text.removeprefix(".") or "plan"
