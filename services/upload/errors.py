"""What `upload` refuses, and how it says so."""

from datetime import date
from typing import Any, ClassVar

from services.upload.quota.rules import State
from shared.errors import DomainError


class QuotaExceeded(DomainError):
    def __init__(self, quota: dict[str, Any], requested: int, upgrade_url: str) -> None:
        super().__init__(
            "quota_exceeded",
            413,
            f"{requested} bytes do not fit: {quota['available']} of {quota['limit']} are available.",
            quota_info={**quota, "requested": requested},
            upgrade_url=upgrade_url,
        )


class FileTooLarge(DomainError):
    def __init__(self, limit: int) -> None:
        super().__init__("file_too_large", 413, f"A file may have at most {limit} bytes.", max_file_size=limit)


class TypeNotAllowed(DomainError):
    def __init__(self, media_type: str) -> None:
        super().__init__("type_not_allowed", 415, f"Files of type {media_type} are not accepted.")


class TypeMismatch(DomainError):
    """The content is something that hides behind what the sender says."""

    def __init__(self, declared: str, found: str) -> None:
        detail = f"Said to be {declared}, but the content is {found}."
        super().__init__("type_mismatch", 415, detail, declared=declared, found=found)


class InvalidUpload(DomainError):
    """The form itself is wrong: no file, two files, a bad name, an unknown category …"""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, 422, detail)


class DigestMismatch(DomainError):
    def __init__(self) -> None:
        super().__init__("digest_mismatch", 422, "The bytes that came are not the ones the digest was made of.")


class FileNotFound(DomainError):
    """Also for another tenant's file: whether it exists is not ours to say."""

    def __init__(self) -> None:
        super().__init__("file_not_found", 404, "There is no such file.")


class FileScanning(DomainError):
    def __init__(self) -> None:
        super().__init__("file_scanning", 409, "The file is still being scanned; try again.")


class FileBlocked(DomainError):
    def __init__(self) -> None:
        super().__init__("file_blocked", 403, "The file was not found clean, so it is not given out.")


class PreconditionFailed(DomainError):
    """`If-Match` names what the file was, not what it is; or `If-None-Match` wants no file where there is one."""

    def __init__(self) -> None:
        super().__init__("precondition_failed", 412, "What is there is not what the request is conditional on.")


class NotTheManager(DomainError):
    def __init__(self) -> None:
        super().__init__("manager_required", 403, "Only owners and admins of the team may change its settings.")


class ImageNotFound(DomainError):
    """Also for another tenant's, and for a file that is no image."""

    def __init__(self) -> None:
        super().__init__("image_not_found", 404, "There is no such image.")


class ImageNotAnalysed(DomainError):
    """`error`: why it never will be; None: not yet."""

    def __init__(self, error: str | None) -> None:
        detail = "The image was not looked at yet; try again." if error is None else "The image could not be read."
        super().__init__("image_not_analysed", 409, detail, error=error)


class ImageUnreadable(DomainError):
    """`code`: image_broken, too_many_pixels, image_too_large or not_an_image."""

    def __init__(self, code: str) -> None:
        super().__init__(code, 422, "No smaller picture can be made of this one.")


class ImageQuotaNotFound(DomainError):
    """Also for people of other tenants."""

    def __init__(self) -> None:
        super().__init__("image_quota_not_found", 404, "There is nobody with that address whose quota you may see.")


class LinkRefused(DomainError):
    """`link_invalid`, `link_expired`, `link_revoked`, `link_exhausted`."""

    _DETAILS: ClassVar = {
        "link_expired": "The link has expired.",
        "link_revoked": "The link has been revoked.",
        "link_exhausted": "The link has been used as often as it may be.",
    }

    def __init__(self, code: str) -> None:
        super().__init__(code, 403, self._DETAILS.get(code, "The link is not valid."))


class LinkNotFound(DomainError):
    def __init__(self) -> None:
        super().__init__("link_not_found", 404, "There is no such link.")


class EntitlementsUnknown(DomainError):
    def __init__(self) -> None:
        super().__init__("entitlements_unknown", 503, "What this tenant may store is not known just now; try again.")


class TenantGone(DomainError):
    """What it stored can still be read and deleted, until it is erased."""

    def __init__(self) -> None:
        super().__init__("tenant_deleted", 403, "This team was deleted: nothing more can be stored.")


class NoPlan(EntitlementsUnknown):
    """Billing knows the tenant has none."""


class NoImageLeft(DomainError):
    """The month's images are used or held; `state` is the account that says so."""

    def __init__(self, state: State, month: date) -> None:
        super().__init__("IMAGE_QUOTA_EXCEEDED", 403, "All images of this month are used.")
        self.state = state
        self.month = month


class ReservationLost(DomainError):
    """The upload took longer than its reservation lived, and the space is gone."""

    def __init__(self) -> None:
        super().__init__("reservation_expired", 409, "The upload took too long and its reserved space was given away.")
