"""One file of a catalogue: the plan it holds, or everything that is wrong with it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from services.billing.catalogue.plan import Plan
from services.billing.catalogue.problems import Problem, after, at, explain, place

_DATE = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """Without dates: no field is one, and YAML fails on a bad one without saying where."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _DATE]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@dataclass(frozen=True, slots=True)
class Sheet:
    """A plan, and the file it stands in."""

    file: str
    plan: Plan
    root: yaml.Node

    def problem(self, name: str, text: str) -> Problem:
        """Of one of its fields."""
        return at(self.file, place(self.root, (name,)), text)


def read(path: Path) -> Sheet | list[Problem]:
    parsed = parse(path)
    if isinstance(parsed, Problem):
        return [parsed]
    root, raw = parsed
    problems = doubles(path.name, root)
    try:
        plan = Plan.model_validate(raw)
    except ValidationError as error:
        problems += explain(path.name, root, error.errors(include_url=False))
        return sorted(problems, key=lambda problem: (problem.line, problem.column))
    return problems or Sheet(path.name, plan, root)


def doubles(file: str, root: yaml.Node) -> list[Problem]:
    return [at(file, mark, f"{name}: stands there twice") for mark, name in _doubles(root, set())]


def parse(path: Path) -> tuple[yaml.Node, Any] | Problem:
    """The values, and the nodes that know where they stand."""
    text = ""
    try:
        text = path.read_text("utf-8")
        root = yaml.compose(text, _Loader)
        raw: Any = yaml.load(text, _Loader)  # noqa: S506 - it is a SafeLoader
    except OSError as error:
        return Problem(path.name, f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        return after(path.name, error.object[: error.start].decode(), "not UTF-8")
    except yaml.reader.ReaderError as error:
        return after(path.name, text[: error.position], "not YAML: a character that cannot be seen")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        what = getattr(error, "problem", None) or str(error)
        return at(path.name, getattr(error, "problem_mark", None), f"not YAML: {' '.join(what.split())}")
    return (root, raw) if root is not None else Problem(path.name, "the file is empty", 1, 1)


def _doubles(node: yaml.Node, seen: set[int]) -> Iterator[tuple[yaml.Mark, str]]:
    """YAML's reader takes the last of two without a word."""
    if id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))
    names: set[str] = set()
    for child in node.value:
        name, value = child if isinstance(child, tuple) else (None, child)
        if name is not None:
            if str(name.value) in names:
                yield name.start_mark, str(name.value)
            names.add(str(name.value))
        yield from _doubles(value, seen)
