"""What every way in reads from a request's headers. Pure."""

from collections.abc import Mapping

from shared.errors import DomainError


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """Raises DomainError for one that could not be kept."""
    key = headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= 255:
        raise DomainError("invalid_idempotency_key", 422, "1 to 255 characters.")
    return key


def number(headers: Mapping[str, str], name: str) -> int | None:
    """A number of bytes; None where the header is missing. Raises DomainError."""
    text = headers.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise DomainError("invalid_request", 422, f"{name} is a number of bytes.")
    return int(text)
