"""What a tenant may store, as uploads ask for it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """`max_file` in bytes, None where the plan does not say; `allowed` media types, None allows all.

    `location` names the store new files go to; `trash_days` 0 deletes at once.
    """

    plan: str
    max_file: int | None = None
    allowed: frozenset[str] | None = None
    images_month: int | None = None
    trash_days: int = 0
    versions_kept: int = 0
    timezone: str = "UTC"
    location: str = "default"
    deleted: bool = False  # nothing is taken in any more
