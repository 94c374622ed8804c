"""One request as the door has understood it."""

from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from services.gateway.identity.visitors import Visitor
from services.gateway.proxy.headers import Headers
from services.gateway.traffic.meter import Meter
from shared.security import Principal


@dataclass(frozen=True, slots=True)
class Arrival:
    """`headers` as they may be used; `length` of the body in bytes, None when chunks will tell."""

    scope: Scope
    receive: Receive
    send: Send
    headers: Headers
    length: int | None
    address: str
    visitor: Visitor
    principal: Principal
    meter: Meter

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    @property
    def target(self) -> bytes:
        """Path and query as they came."""
        query: bytes = self.scope["query_string"]
        raw: bytes = self.scope.get("raw_path") or self.path.encode()
        return raw + b"?" + query if query else raw

    def header(self, name: bytes) -> str | None:
        return find(self.headers, name)


def find(headers: Headers, name: bytes) -> str | None:
    """The first value."""
    return next((value.decode("latin-1") for key, value in headers if key == name), None)
