"""Plans as files, one folder a family: read, checked, and never changed in place."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.events import Entitlements
from shared.money import Money

FOLDER = Path(__file__).parent
DEFAULT = FOLDER / "default"


class CatalogueError(Exception):
    """One line: which file, where, what."""


class Price(BaseModel):
    """`amount` is decimal text, "3.00"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    amount: str
    currency: str
    interval: Literal["month", "year"]

    @property
    def money(self) -> Money:
        return Money.parse(self.amount, self.currency)

    @model_validator(mode="after")
    def _is_money(self) -> Self:
        if self.money.amount <= 0:
            raise ValueError("a price is more than nothing; a plan without a price is free")
        return self


Count = Annotated[int, Field(ge=0)]
MediaType = Annotated[str, Field(pattern=r"^[a-z]+/(\*|[a-z0-9][a-z0-9.+-]*)$")]


class Rights(Entitlements):
    """Entitlements as a plan may grant them: nothing below nothing, and media types that a file can have.

    An empty list of types would sell storage that takes nothing in.
    """

    storage_bytes: Count | None
    traffic_bytes_month: Count | None
    images_month: Count | None
    teams: Count | None
    members: Count | None
    projects: Count | None
    cpu: Annotated[float, Field(ge=0)] | None
    memory_bytes: Count | None
    max_file_bytes: Count | None
    allowed_types: Annotated[tuple[MediaType, ...], Field(min_length=1)] | None = None
    trash_days: int = Field(default=0, ge=0, le=3650)


class Plan(BaseModel):
    """What a team gets, and for how much; no price is free. A subscription keeps the version it bought.

    One that is not `public` is given by staff: nobody can buy it, and only teams that have it see it listed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")
    version: int = Field(ge=1)
    name: str = Field(min_length=1, max_length=64)
    default: bool = False
    public: bool = True
    price: Price | None = None
    entitlements: Rights

    @property
    def digest(self) -> str:
        """Of everything it sells: the same version must always say the same, also to a newer Stowage."""
        said = self.model_dump(mode="json", exclude={"public"})  # which may be withdrawn
        # An entitlement that was not sold yet when the plan was written must not make it another plan.
        said["entitlements"] = self.entitlements.model_dump(mode="json", exclude_defaults=True)
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


class Catalogue:
    """The newest version of each plan, by code."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self.plans = {plan.code: plan for plan in sorted(plans, key=lambda plan: plan.version)}
        defaults = [plan for plan in self.plans.values() if plan.default]
        if len(defaults) != 1 or defaults[0].price is not None or not defaults[0].public:
            raise CatalogueError("the catalogue needs exactly one default plan, and that one is free and public")
        self.default = defaults[0]

    def find(self, code: str) -> Plan | None:
        return self.plans.get(code)


def find_family(name: str) -> Path:
    """The folder of the plans shipped under that name. Raises CatalogueError."""
    families = sorted({path.parent.name for path in FOLDER.glob("*/*.yaml")})
    if name not in families:
        raise CatalogueError(f"PLAN_CATALOGUE: there is no {name!r}, only {', '.join(families)}")
    return FOLDER / name


def load(folder: Path = DEFAULT) -> Catalogue:
    """Raises CatalogueError."""
    return Catalogue([read(path) for path in sorted(folder.glob("*.yaml"))])


def read(path: Path) -> Plan:
    try:
        text = path.read_text()
        raw: Any = yaml.safe_load(text)
        return Plan.model_validate(raw)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise CatalogueError(f"{path.name}{line}: not YAML: {getattr(error, 'problem', error)}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = next((str(part) for part in reversed(first["loc"]) if isinstance(part, str)), "")
        raise CatalogueError(f"{path.name}{_line_of(text, name)}: {name or 'plan'}: {first['msg']}") from error


def _line_of(text: str, name: str) -> str:
    for number, line in enumerate(text.splitlines(), 1):
        if name and f"{name}:" in line:
            return f":{number}"
    return ""
