"""What can be wrong with a request to the gateway; each carries its status once."""

import math
from typing import Any

from shared.errors import DomainError

_CHALLENGE = {"www-authenticate": 'Bearer realm="stowage"'}


class EmailInvalid(DomainError):
    def __init__(self, reason: str) -> None:
        super().__init__("email_invalid", 422, reason)


class PasswordInvalid(DomainError):
    def __init__(self, reason: str) -> None:
        super().__init__("password_invalid", 422, reason)


class NameInvalid(DomainError):
    def __init__(self, reason: str) -> None:
        super().__init__("name_invalid", 422, reason)


class EmailTaken(DomainError):
    def __init__(self) -> None:
        super().__init__("email_taken", 409, "There is an account with this e-mail address already.")


class CredentialsWrong(DomainError):
    """The same answer whether the address is unknown or the password is wrong."""

    def __init__(self) -> None:
        super().__init__("credentials_wrong", 401, "The e-mail address or the password is wrong.")


class Unauthorized(DomainError):
    def __init__(self, detail: str = "Sign in first.") -> None:
        super().__init__("unauthorized", 401, detail)
        self.headers = _CHALLENGE


class SessionEnded(DomainError):
    def __init__(self) -> None:
        super().__init__("session_ended", 401, "This session has ended. Sign in again.")
        self.headers = _CHALLENGE


class OriginNotAllowed(DomainError):
    def __init__(self) -> None:
        super().__init__("origin_not_allowed", 403, "Pages of this origin may not use the API from a browser.")


class TenantNotFound(DomainError):
    """Unknown, or somebody else's: the caller cannot tell which."""

    def __init__(self) -> None:
        super().__init__("tenant_not_found", 404, "There is no such tenant.")


class NotTheManager(DomainError):
    def __init__(self) -> None:
        super().__init__("not_the_manager", 403, "Only owners and admins of the team may do this.")


class MemberNotFound(DomainError):
    def __init__(self) -> None:
        super().__init__("member_not_found", 404, "The team has no such member.")


class MemberExists(DomainError):
    def __init__(self) -> None:
        super().__init__("member_exists", 409, "This person belongs to the team already.")


class OwnerStays(DomainError):
    def __init__(self) -> None:
        super().__init__("owner_stays", 409, "The owner of a team stays, and stays its owner.")


class PersonNotFound(DomainError):
    def __init__(self) -> None:
        super().__init__("person_not_found", 404, "Nobody has an account with this e-mail address.")


class ProjectNotFound(DomainError):
    def __init__(self) -> None:
        super().__init__("project_not_found", 404, "There is no such project.")


class ProjectExists(DomainError):
    def __init__(self) -> None:
        super().__init__("project_exists", 409, "The team has a project of this name.")


class TimezoneUnknown(DomainError):
    def __init__(self) -> None:
        super().__init__("timezone_unknown", 422, "A time zone has an IANA name, as Europe/Paris.")


class EntitlementsUnknown(DomainError):
    """When in doubt, refuse."""

    def __init__(self) -> None:
        super().__init__("entitlements_unknown", 503, "What your plan allows cannot be known just now. Try again.")
        self.headers = {"retry-after": "3"}


class PlanLimitReached(DomainError):
    """`what` is an entitlement's name; `used` of `limit` before the one that was wanted."""

    def __init__(self, what: str, limit: int, used: int, upgrade_url: str) -> None:
        detail = f"Your plan has {limit} {what}, and {used} are in use. Upgrade to have more."
        super().__init__(f"plan_limit_{what}", 403, detail, limit=limit, used=used, upgrade_url=upgrade_url)


class TrafficLimitReached(DomainError):
    """`info`: the month's figures, None for strangers."""

    def __init__(self, info: dict[str, Any] | None, upgrade_url: str) -> None:
        detail = "The team's traffic of this month is used up: nothing can be downloaded until more is bought."
        more = {} if info is None else {"traffic_info": info}
        super().__init__("plan_limit_traffic", 403, detail, upgrade_url=upgrade_url, **more)


class NotificationNotFound(DomainError):
    def __init__(self) -> None:
        super().__init__("notification_not_found", 404, "There is no such notification.")


class CsrfFailed(DomainError):
    def __init__(self) -> None:
        super().__init__("csrf_failed", 403, "The form has expired. Load the page again.")


class TooManyRequests(DomainError):
    """`wait` in seconds, until the next request would pass."""

    def __init__(self, wait: float, detail: str = "Too many requests.") -> None:
        super().__init__("rate_limited", 429, detail)
        self.headers = {"retry-after": str(math.ceil(wait))}


class Busy(DomainError):
    def __init__(self) -> None:
        super().__init__("busy", 503, "Too many people sign in at this moment. Try again in a few seconds.")
        self.headers = {"retry-after": "3"}


class StopLinkInvalid(DomainError):
    def __init__(self) -> None:
        super().__init__("unsubscribe_invalid", 403, "This is not a link out of one of our mails.")


class TooManyStreams(DomainError):
    def __init__(self, limit: int) -> None:
        super().__init__("too_many_streams", 429, f"At most {limit} event streams may be open at once.")
        self.headers = {"retry-after": "30"}


class BadRequest(DomainError):
    def __init__(self, detail: str) -> None:
        super().__init__("bad_request", 400, detail)


class ClientSlow(DomainError):
    def __init__(self) -> None:
        super().__init__("request_timeout", 408, "The rest of the request did not arrive in time.")


class ServiceUnreachable(DomainError):
    def __init__(self) -> None:
        super().__init__("service_unreachable", 502, "The service behind this address does not answer. Try again.")


class ServiceTimeout(DomainError):
    def __init__(self) -> None:
        super().__init__("service_timeout", 504, "The service behind this address did not answer in time.")


class CursorInvalid(DomainError):
    def __init__(self) -> None:
        super().__init__("invalid_cursor", 422, "The cursor is not one of ours.")
