"""What can go wrong, each with its status, said once."""

from datetime import datetime

from shared.errors import DomainError


class EntitlementsUnknown(DomainError):
    def __init__(self) -> None:
        super().__init__(
            "entitlements_unknown", 503, "The plan of this tenant is not known yet and billing does not answer."
        )


class NotTheManager(DomainError):
    def __init__(self) -> None:
        super().__init__("manager_required", 403, "Only owners and admins of the team may do this.")


class DiskUsageNotFound(DomainError):
    def __init__(self) -> None:
        super().__init__("disk_usage_not_found", 404, "The disk usage of that project was never measured.")


class RangeInvalid(DomainError):
    def __init__(self, days: int) -> None:
        super().__init__(
            "range_invalid", 422, f"Wanted: a first day that is not after the last, {days} days at most.", days=days
        )


class RangeEmpty(DomainError):
    def __init__(self) -> None:
        super().__init__("range_invalid", 422, "Wanted: a moment to begin with, and a later one to end with.")


class RangeTooLong(DomainError):
    def __init__(self, most: int) -> None:
        super().__init__(
            "range_too_long", 422, f"{most} items at most: ask for less time, or coarser granularity.", most=most
        )


class HistoryNotKept(DomainError):
    def __init__(self, granularity: str, since: datetime) -> None:
        super().__init__(
            "history_not_kept",
            422,
            f"History by {granularity} begins at {since.isoformat()}: ask for later or coarser.",
            granularity=granularity,
            since=since.isoformat(),
        )


class LedgerUnreachable(DomainError):
    def __init__(self) -> None:
        super().__init__("ledger_unreachable", 503, "The ledger cannot be read now, so nothing can be proved.")


class RebuildRunning(DomainError):
    def __init__(self) -> None:
        super().__init__(
            "rebuild_running", 409, "Another rebuild is putting counters right. Ask again when it is done."
        )


class NotYet(DomainError):
    def __init__(self) -> None:
        super().__init__(
            "in_the_future", 422, "What will be stored then is not known yet: name a time that has passed."
        )


class TenantNotFound(DomainError):
    def __init__(self) -> None:
        super().__init__("tenant_not_found", 404, "There is no such tenant.")


class StorageNotCalculated(DomainError):
    """A tenant so new that the worker has not come to it."""

    def __init__(self) -> None:
        super().__init__("storage_not_calculated", 503, "What this tenant stores was not calculated yet. Ask again.")


class ProjectNotFound(DomainError):
    def __init__(self) -> None:
        super().__init__("project_not_found", 404, "There is no such project.")


class ProofUnsettled(DomainError):
    """The store is never looked at while it is of the same moment as the counters: files come and go too fast."""

    def __init__(self, position: int, store_position: int) -> None:
        super().__init__(
            "proof_unsettled",
            503,
            "Files are still coming and going: counters and store were never seen at the same position. Ask again.",
            position=position,
            store_position=store_position,
        )
