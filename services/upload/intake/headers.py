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


def check_whole(headers: Mapping[str, str]) -> None:
    """Of a PUT whose body is to be the file: a part of one, or one that is packed, would take its place. Raises
    DomainError 415 `encoding_not_supported`, 400 `partial_put`.
    """
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise DomainError("encoding_not_supported", 415, "Send the file as it is, without Content-Encoding.")
    if "content-range" in headers:
        raise DomainError("partial_put", 400, "A PUT brings the whole file; for parts there are resumable uploads.")
