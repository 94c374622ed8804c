"""Which service a path belongs to, and who may ask without an account. Pure."""

import contextlib
from uuid import UUID

_PREFIXES = {
    "/api/storage": "upload",
    "/api/images": "upload",
    "/api/user": "upload",
    "/api/admin/erasures": "upload",
    "/api/admin/upload": "upload",
    "/api/admin/usage": "usage",
    "/api/admin/billing": "billing",
    "/api/admin/credits": "billing",
    "/api/admin/payments": "billing",
    "/api/usage": "usage",
    "/api/plans": "billing",
    "/api/subscription": "billing",
    "/api/credits": "billing",
    "/api/payments": "billing",
    "/api/invoices": "billing",
    "/api/billing": "billing",
    "/api/admin/invoices": "billing",
}

# Answered by whoever counts.
_PATHS = {
    "/api/storage/recalculate": "usage",
    "/api/storage/stats": "usage",
    "/api/user/storage-plan": "billing",
    "/api/user/upgrade-plan": "billing",
}

_CALLBACKS = {"/api/payments/callback", "/api/payments/stripe/webhook"}  # signed by providers

_UNSUBSCRIBE = "/api/notifications/unsubscribe"  # signed by us, for whoever has the mail

_TUS = "/api/storage/uploads"
_SIGNED = "/api/storage/signed/"

SERVICES = ("upload", "usage", "billing")


def service_of(path: str) -> str | None:
    """None for the gateway's own. `/internal/**` of a service is nobody's from outside."""
    if path in _PATHS:
        return _PATHS[path]
    parts = path.split("/", 4)
    # What administrators may ask of a service has one name more.
    return _PREFIXES.get("/".join(parts[: 4 if parts[2:3] == ["admin"] else 3]))


def is_open(method: str, path: str) -> bool:
    """Routes that are let through with an anonymous principal: they are the same for everybody, or carry their
    permission in themselves.
    """
    if path == _UNSUBSCRIBE:
        return method in ("GET", "POST")
    if method in ("GET", "HEAD"):
        return path in ("/api/plans", "/api/credits/ad-views/verify") or path.startswith(_SIGNED)
    if method == "PUT":
        return path.startswith("/api/storage/direct/")
    if method == "OPTIONS":
        return path == _TUS or path.startswith(f"{_TUS}/")  # what the server can do
    return method == "POST" and path in _CALLBACKS


def is_download(method: str, path: str) -> bool:
    """The bytes of a file, or a smaller picture of it. Not exports: people get their data whatever they have used."""
    if method != "GET":
        return False
    if path.startswith(("/api/storage/content/", _SIGNED)):
        return True
    if path.startswith("/api/storage/files/"):
        return path.endswith("/content")
    return path.startswith("/api/images/") and path.endswith("/thumbnail")


def owner_named(path: str) -> UUID | None:
    """Whose file a link leads to; None where it is the caller's."""
    if not path.startswith(_SIGNED):
        return None
    with contextlib.suppress(ValueError):
        return UUID(path.removeprefix(_SIGNED).split("/", 1)[0])
    return None


def holds_names(path: str) -> bool:
    """Pages about files: their names are people's own, whatever they look like."""
    return path.startswith(("/app/files", "/app/trash", "/app/recent"))


def takes_password(path: str) -> bool:
    """Links to files may have one; it comes by Basic authentication and is for the service to check."""
    return path.startswith(_SIGNED)


def sets_no_headers(path: str) -> bool:
    """Asked by Uppy's S3 plugin, which cannot be told to send a token with its requests."""
    return path.startswith("/api/storage/s3/")
