"""Plans as files, one folder a family: read, checked, and never changed in place.

The newest version of a plan is in `<code>.yaml` and is what is sold; older ones are beside it, `<code>.<version>.yaml`.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from services.billing.catalogue.plan import Interval, Plan, Price
from services.billing.catalogue.problems import Problem
from services.billing.catalogue.reader import Sheet, read

__all__ = ["DEFAULT", "FOLDER", "Catalogue", "CatalogueError", "Interval", "Plan", "Price", "find_family", "load"]

FOLDER = Path(__file__).parent
DEFAULT = FOLDER / "default"
OTHERS = frozenset({"credits.yaml"})  # what else may lie beside plans
NO_DEFAULT = "the catalogue needs exactly one default plan, and that one is free and public"


class CatalogueError(Exception):
    """One line: which file, where, what. `problems` has all there are."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        more = f" (and {len(problems) - 1} more: stowage catalogue check)" if len(problems) > 1 else ""
        super().__init__(f"{problems[0]}{more}")
        self.problems = problems


class Catalogue:
    """`plans`: the newest version of each, by code; `versions`: all of them. `currency` is taken where none is named.

    Raises CatalogueError.
    """

    def __init__(self, plans: Iterable[Plan], currency: str = "EUR") -> None:
        ordered = sorted(plans, key=lambda plan: plan.version)
        self.currency = currency
        self.versions = {plan.key: plan for plan in ordered}
        self.plans = {plan.code: plan for plan in ordered}
        defaults = [plan for plan in self.plans.values() if plan.default]
        if len(defaults) != 1 or defaults[0].prices or not defaults[0].public:
            raise CatalogueError([Problem("", NO_DEFAULT)])
        self.default = defaults[0]

    def find(self, code: str) -> Plan | None:
        return self.plans.get(code)

    def price_of(self, plan: Plan, currency: str | None = None, interval: Interval | None = None) -> Price | None:
        """As wanted, or nearest to it: the currency before the interval. None only for a free plan."""
        wanted = currency or self.currency
        nearest = (
            plan.price_in(wanted, interval),
            plan.price_in(wanted),
            plan.price_in(self.currency, interval),
            plan.price_in(self.currency),
        )
        return next(filter(None, nearest), next(iter(plan.prices), None))


def families() -> list[str]:
    """Those that are shipped."""
    return sorted({path.parent.name for path in FOLDER.glob("*/*.yaml")})


def find_family(name: str) -> Path:
    """The folder of a shipped family, or the one at that path: what has a `/` is a path. Raises CatalogueError."""
    if os.sep in name:
        if not (folder := Path(name)).is_dir():
            raise CatalogueError([Problem("", f"PLAN_CATALOGUE: there is no folder {name}")])
        return folder
    if name not in families():
        known = ", ".join(families())
        raise CatalogueError(
            [Problem("", f"PLAN_CATALOGUE: there is no {name!r}, only {known}, or a path with a / to a folder")]
        )
    return FOLDER / name


def load(folder: Path = DEFAULT, currency: str = "EUR") -> Catalogue:
    """Raises CatalogueError with everything that is wrong."""
    sheets, problems = inspect(folder, currency)
    if problems:
        raise CatalogueError(problems)
    return Catalogue([sheet.plan for sheet in sheets], currency)


def inspect(folder: Path, currency: str) -> tuple[list[Sheet], list[Problem]]:
    """The plans that can be read, and all that is wrong in the folder."""
    files = sorted(path for path in folder.glob("*.yaml") if path.name not in OTHERS)
    found = [read(path) for path in files]
    sheets = [sheet for sheet in found if isinstance(sheet, Sheet)]
    problems = [problem for one in found if isinstance(one, list) for problem in one]
    problems += [Problem(path.name, "is not read: its name must end in .yaml") for path in sorted(folder.glob("*.yml"))]
    problems += _misplaced(sheets)
    if not problems:
        problems += [*_without_default(sheets), *_unsold(sheets, currency)]
    return sheets, problems


def _misplaced(sheets: Sequence[Sheet]) -> Iterator[Problem]:
    """Files that are not named after what they say; so no version stands in two."""
    newest = {sheet.plan.code: sheet.plan.version for sheet in sheets if sheet.file == f"{sheet.plan.code}.yaml"}
    for sheet in sheets:
        code, version = sheet.plan.key
        name, _, told = sheet.file.removesuffix(".yaml").partition(".")
        if name != code:
            yield sheet.problem("code", f"code: {code}, but the file is named {sheet.file}")
        elif told and told != str(version):
            yield sheet.problem("version", f"version: {version}, but the file is named {sheet.file}")
        elif told and code not in newest:
            yield Problem(sheet.file, f"is an old version; what is sold must be in {code}.yaml")
        elif told and version >= newest[code]:
            yield sheet.problem("version", f"version: {version} is not older than {code}.yaml, which is what is sold")


def _without_default(sheets: Sequence[Sheet]) -> Iterator[Problem]:
    defaults = [sheet for sheet in sheets if sheet.plan.default and sheet.file == f"{sheet.plan.code}.yaml"]
    if not defaults:
        yield Problem("", f"no plan is the default: {NO_DEFAULT}")
    for sheet in defaults:
        if len(defaults) > 1 or sheet.plan.prices or not sheet.plan.public:
            yield sheet.problem("default", f"default: {NO_DEFAULT}")


def _unsold(sheets: Sequence[Sheet], currency: str) -> Iterator[Problem]:
    """A plan without a price in the installation's currency would look free, or could not be bought."""
    for sheet in sheets:
        plan = sheet.plan
        sold = plan.public and plan.prices and sheet.file == f"{plan.code}.yaml"
        if sold and plan.price_in(currency) is None:
            yield sheet.problem("prices", f"prices: there is none in {currency} (CURRENCY)")
