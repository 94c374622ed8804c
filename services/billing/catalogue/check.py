"""`stowage catalogue check`: everything that is wrong with a family of plans, or what it sells."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from services.billing.catalogue.loader import FOLDER, CatalogueError, families, find_family, inspect
from services.billing.catalogue.plan import Plan
from services.billing.catalogue.problems import Problem
from services.billing.catalogue.reader import Sheet
from services.billing.credits.catalogue import find_credits, load_credits
from shared.sizes import format_bytes

HEAD = ("plan", "version", "sold", "prices", "storage", "traffic a month", "members", "projects", "images a month")


def main(family: str | None, currency: str) -> int:
    """0, or 1 where something is wrong. `family`: a name or a path; None for all that are shipped."""
    try:
        folders = [_folder(family)] if family is not None else [FOLDER / name for name in families()]
    except CatalogueError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return max([_check(folder, currency) for folder in folders])


def _folder(family: str) -> Path:
    return Path(family) if Path(family).is_dir() else find_family(family)


def _check(folder: Path, currency: str) -> int:
    sheets, problems = inspect(folder, currency)
    problems += [*_known_otherwise(folder, sheets), *_of_credits(folder, currency)]
    if problems:
        print(f"{folder}: {len(problems)} wrong", file=sys.stderr)  # noqa: T201
    for problem in problems:
        print(f"  {problem}", file=sys.stderr)  # noqa: T201
    if not problems:
        print(f"{folder.name}: in order\n{table([sheet.plan for sheet in sheets])}\n")  # noqa: T201
    return 1 if problems else 0


def _known_otherwise(folder: Path, sheets: Sequence[Sheet]) -> Iterator[Problem]:
    """An installation may have sold a shipped family before: what it has sold must say the same here."""
    for name in families():
        if (FOLDER / name).resolve() == folder.resolve():
            continue
        others = {sheet.plan.key: sheet.plan for sheet in inspect(FOLDER / name, "EUR")[0]}
        for sheet in sheets:
            other = others.get(sheet.plan.key)
            if other is not None and other.digest != sheet.plan.digest:
                text = f"version: {sheet.plan.version} is another plan in the family {name}; take a higher one"
                yield sheet.problem("version", text)


def _of_credits(folder: Path, currency: str) -> Sequence[Problem]:
    try:
        load_credits(find_credits(folder), currency)
    except CatalogueError as error:
        return error.problems
    return []


def table(plans: Sequence[Plan]) -> str:
    """In columns, the newest version of each plan first."""
    newest = {plan.code: plan.version for plan in sorted(plans, key=lambda plan: plan.version)}
    ordered = sorted(plans, key=lambda plan: (plan.prices[0].yearly if plan.prices else 0, plan.code, -plan.version))
    rows = [HEAD, *(_row(plan, sold=plan.version == newest[plan.code]) for plan in ordered)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    return "\n".join("  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _row(plan: Plan, *, sold: bool) -> tuple[str, ...]:
    has = plan.entitlements
    prices = ", ".join(f"{price.money.text} {price.currency} a {price.interval}" for price in plan.prices)
    how = "default" if plan.default else "yes" if plan.public else "by staff"
    return (
        plan.code,
        str(plan.version),
        how if sold else "no more",
        prices or "free",
        _size(has.storage_bytes),
        _size(has.traffic_bytes_month),
        *(_count(number) for number in (has.members, has.projects, has.images_month)),
    )


def _size(number: int | None) -> str:
    return "unlimited" if number is None else format_bytes(number)


def _count(number: int | None) -> str:
    return "unlimited" if number is None else str(number)
