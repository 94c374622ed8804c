"""Which headers cross the gateway, and in which direction. Pure."""

from collections.abc import Iterable, Mapping

Headers = list[tuple[bytes, bytes]]

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

# The gateway answers for who asks, from where and in which trace; what a client says about it stays outside.
_SPOKEN_FOR = frozenset(
    {
        b"host",
        b"authorization",
        b"cookie",
        b"content-length",
        b"expect",
        b"forwarded",
        b"x-real-ip",
        b"x-tenant",
        b"x-csrf-token",
        b"traceparent",
        b"tracestate",
        b"baggage",
    }
)
_SPOOFED = (b"stowage-", b"x-forwarded-")

# The gateway's own server writes date and server; cookies belong to the gateway alone.
_NOT_RELAYED = frozenset({b"server", b"date", b"set-cookie"})

EXPECT_ABOVE = 64 * 1024  # bytes of body that may be lost to a refusal without asking first


class MalformedRequest(ValueError):
    """Its framing can be read in two ways, or its path climbs."""


def without_spoofed(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return [(name, value) for name, value in headers if not name.startswith(_SPOOFED)]


def body_length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    """Bytes of body to come, 0 without one, None when chunks will tell. Raises MalformedRequest."""
    lengths = [value for name, value in headers if name == b"content-length"]
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if codings:
        if lengths or codings != [b"chunked"]:
            raise MalformedRequest("Transfer-Encoding stands alone and is chunked.")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > 18:
        raise MalformedRequest("Content-Length is one whole number.")
    return int(lengths[0])


def check_path(path: str) -> None:
    """Raises MalformedRequest for a path that means another one."""
    if not path.startswith("/") or any(c < " " or c == "\x7f" for c in path):
        raise MalformedRequest("The path is not valid.")
    if "\\" in path or any(part in (".", "..") for part in path.split("/")):
        raise MalformedRequest("The path has dot segments.")


def request_head(
    method: str, target: bytes, headers: Iterable[tuple[bytes, bytes]], length: int | None, own: Mapping[bytes, bytes]
) -> tuple[bytes, bool]:
    """The head to send upstream with `own` headers added, and whether it asks before it sends the body."""
    listed = _connection_tokens(headers)
    lines = [b"%s %s HTTP/1.1" % (method.encode(), target)]
    lines += [b"%s: %s" % pair for pair in own.items()]
    lines += [
        b"%s: %s" % (name, value)
        for name, value in without_spoofed(headers)
        if name not in _HOP_BY_HOP and name not in _SPOKEN_FOR and name not in listed
    ]
    if length is None:
        lines.append(b"transfer-encoding: chunked")
    elif length or method in ("POST", "PUT", "PATCH"):
        lines.append(b"content-length: %d" % length)
    expect = length is None or length > EXPECT_ABOVE
    if expect:
        lines.append(b"expect: 100-continue")
    return b"\r\n".join(lines) + b"\r\n\r\n", expect


def relayed(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """An answer's headers as the client may see them."""
    listed = _connection_tokens(headers)
    return [
        (name, value)
        for name, value in headers
        if name not in _HOP_BY_HOP
        and name not in _NOT_RELAYED
        and name not in listed
        and not name.startswith(b"stowage-")
    ]


def _connection_tokens(headers: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    """Headers that Connection names belong to one hop too."""
    return {token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")}
