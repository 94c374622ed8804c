"""What a change of plan would be. Pure."""

from collections.abc import Collection
from datetime import datetime
from typing import Literal

from services.billing.catalogue.plan import Plan, Price
from shared.events import Entitlements, Lower

Kind = Literal["upgrade", "downgrade", "same", "none"]
_COUNTED = ("storage_bytes", "traffic_bytes_month", "images_month", "members", "projects")


def kind_of(held: Plan, wanted: Plan, paid: Price | None, asked: Price | None) -> Kind:
    """`paid` and `asked`: the prices of both, as near to each other as there are; None is free.

    What costs more is an upgrade; at the same price, or where prices cannot be compared, what takes nothing away. The
    plan that is held is one where nothing is paid for it: it is tried, or was given.
    """
    if held.key == wanted.key and (paid is not None or asked is None):
        return "same"
    if asked is None and not wanted.default:
        return "none"  # neither sold nor what a team falls back to
    before, after = _yearly(paid), _yearly(asked)
    comparable = paid is None or asked is None or paid.currency == asked.currency
    if comparable and before != after:
        return "upgrade" if after > before else "downgrade"
    return "upgrade" if covers(wanted.entitlements, held.entitlements) else "downgrade"


def may_try(plan: Plan, held: Plan, tried: Collection[str]) -> bool:
    """By a team on `held` that has `tried` some plans before."""
    return bool(plan.trial_days) and plan.public and held.default and plan.code not in tried


def covers(one: Entitlements, other: Entitlements) -> bool:
    """Whether whoever has `other` loses nothing with `one`."""
    mine, theirs = one.model_dump(), other.model_dump()
    return all(_reaches(name, mine[name], theirs[name]) for name in mine)


def lower(before: Entitlements, after: Entitlements) -> Lower:
    """Which limits fall, and to what."""
    fallen: dict[str, int] = {}
    for name in _COUNTED:
        held, limit = getattr(before, name), getattr(after, name)
        if limit is not None and (held is None or limit < held):
            fallen[name.split("_", maxsplit=1)[0]] = limit
    return Lower(**fallen)


def over(used: int | None, limit: int | None) -> int | None:
    """How much is above the limit; None where it is not known how much is used."""
    if used is None:
        return None
    return 0 if limit is None else max(0, used - limit)


def effective_at(kind: Kind, now: datetime, period_end: datetime | None) -> datetime | None:
    """More as soon as it is paid; less when what was paid for is used up; None where nothing changes."""
    if kind in {"same", "none"}:
        return None
    return now if kind == "upgrade" or period_end is None else max(now, period_end)


def _reaches(name: str, mine: object, theirs: object) -> bool:
    match name:
        case "allowed_types":
            return mine is None or (isinstance(mine, tuple) and isinstance(theirs, tuple) and set(mine) >= set(theirs))
        case "isolation":
            return mine == "schema" or theirs == "shared"
    if isinstance(mine, int | float) and isinstance(theirs, int | float):
        return mine >= theirs
    return mine is None


def _yearly(price: Price | None) -> int:
    return price.yearly if price else 0
