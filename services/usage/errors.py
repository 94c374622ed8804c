"""What can go wrong, each with its status, said once."""

from shared.errors import DomainError


class EntitlementsUnknown(DomainError):
    def __init__(self) -> None:
        super().__init__(
            "entitlements_unknown", 503, "The plan of this tenant is not known yet and billing does not answer."
        )


class LedgerUnreachable(DomainError):
    def __init__(self) -> None:
        super().__init__("ledger_unreachable", 503, "The ledger cannot be read now, so nothing can be proved.")


class TenantNotFound(DomainError):
    def __init__(self) -> None:
        super().__init__("tenant_not_found", 404, "There is no such tenant.")


class StorageNotCalculated(DomainError):
    """A tenant so new that the worker has not come to it."""

    def __init__(self) -> None:
        super().__init__("storage_not_calculated", 503, "What this tenant stores was not calculated yet. Ask again.")


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
