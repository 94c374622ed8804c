"""Where a request comes from. Pure."""

from collections.abc import Iterable


def client_address(peer: str, headers: Iterable[tuple[bytes, bytes]], trusted_proxies: int) -> str:
    """The peer itself, or what the outermost of one's own `trusted_proxies` wrote down about its peer."""
    if trusted_proxies <= 0:
        return peer
    said = ",".join(value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for")
    hops = [hop.strip() for hop in said.split(",") if hop.strip()]
    return hops[-trusted_proxies] if len(hops) >= trusted_proxies else peer
