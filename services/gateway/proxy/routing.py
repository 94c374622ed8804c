"""Which service a path belongs to, and who may ask without an account. Pure."""

_PREFIXES = {
    "/api/storage": "upload",
    "/api/images": "upload",
    "/api/user": "upload",
    "/api/admin/erasures": "upload",
    "/api/usage": "usage",
    "/api/plans": "billing",
    "/api/subscription": "billing",
    "/api/credits": "billing",
    "/api/payments": "billing",
    "/api/invoices": "billing",
}

SERVICES = ("upload", "usage", "billing")


def service_of(path: str) -> str | None:
    """None for the gateway's own. `/internal/**` of a service is nobody's from outside."""
    parts = path.split("/", 4)
    # What administrators may ask of a service has one name more.
    return _PREFIXES.get("/".join(parts[: 4 if parts[2:3] == ["admin"] else 3]))


def is_open(method: str, path: str) -> bool:
    """Routes of services that are let through with an anonymous principal."""
    if method in ("GET", "HEAD"):
        return path == "/api/plans" or path.startswith("/api/storage/signed/")
    return method == "POST" and path == "/api/payments/callback"
