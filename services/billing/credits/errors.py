from datetime import datetime

from shared.errors import DomainError


class CreditsInsufficient(DomainError):
    """402 and not 403: nothing forbids it, and buying credits lets the same request pass."""

    def __init__(self, balance: int, missing: int) -> None:
        detail = f"{missing} credits are missing."
        super().__init__("credits_insufficient", 402, detail, balance=balance, missing=missing)


class ClientIdReused(DomainError):
    def __init__(self) -> None:
        super().__init__("client_id_reused", 409, "This client id was used for something else.")


class UseUnknown(DomainError):
    def __init__(self, use: str) -> None:
        super().__init__("use_unknown", 422, f"Credits buy no {use!r}.")


class ReservationNotFound(DomainError):
    def __init__(self) -> None:
        super().__init__("reservation_not_found", 404, "There is no such reservation.")


class ReservationClosed(DomainError):
    def __init__(self, status: str) -> None:
        super().__init__("reservation_closed", 409, f"The reservation is {status}.", status_is=status)


class SettledTooMuch(DomainError):
    def __init__(self, quantity: int) -> None:
        super().__init__("settled_too_much", 422, f"No more than {quantity} are reserved.", quantity=quantity)


class ExpiryPast(DomainError):
    def __init__(self) -> None:
        super().__init__("expiry_past", 422, "`expires_at` is over already.")


class TrafficUnlimited(DomainError):
    def __init__(self) -> None:
        super().__init__("traffic_unlimited", 409, "The plan's traffic has no limit: there is nothing to buy.")


class TenantNotFound(DomainError):
    def __init__(self) -> None:
        super().__init__("tenant_not_found", 404, "There is no such tenant.")


class PeriodInvalid(DomainError):
    def __init__(self) -> None:
        super().__init__("period_invalid", 422, "`from` comes before `to`.")


class AdViewNotFound(DomainError):
    def __init__(self) -> None:
        super().__init__("ad_view_not_found", 404, "There is no such view.")


class AdViewOpen(DomainError):
    """Somebody else of the team watches just now."""

    def __init__(self, started_at: datetime, until: datetime) -> None:
        super().__init__(
            "ad_view_open",
            409,
            "Another member of the team is watching an ad.",
            started_at=started_at.isoformat(),
            until=until.isoformat(),
        )


class AdViewOver(DomainError):
    def __init__(self, status: str) -> None:
        detail = "Another view was started after it." if status == "ended" else "It was completed too late."
        super().__init__(f"ad_view_{status}", 409, detail)


class AdLimitReached(DomainError):
    """403: nothing lets it pass today."""

    def __init__(self, limit: int, resets_at: datetime) -> None:
        super().__init__(
            "ad_limit_reached", 403, f"{limit} views are rewarded a day.", limit=limit, resets_at=resets_at.isoformat()
        )


class VerificationRefused(DomainError):
    def __init__(self, status: int, why: str) -> None:
        super().__init__("ad_verification_refused", status, why)


class PackNotFound(DomainError):
    def __init__(self, code: str, currency: str) -> None:
        super().__init__("pack_not_found", 422, f"There is no pack {code!r} to buy for {currency}.")
