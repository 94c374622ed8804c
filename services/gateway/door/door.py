"""The only way in: every request is cleaned, recognised, counted, and then carried to whom it is for.

The gateway's own routes are one of four destinations and hear who asks in the same signed header as the others.
"""

import logging
from collections.abc import Mapping
from typing import Any

from opentelemetry.trace import SpanKind
from prometheus_client import Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.door.address import client_address
from services.gateway.door.answers import answer_problem
from services.gateway.errors import (
    BadRequest,
    ClientSlow,
    CsrfFailed,
    ServiceTimeout,
    ServiceUnreachable,
    Unauthorized,
)
from services.gateway.identity.passes import Passes, principal_of
from services.gateway.identity.rules import SAFE_METHODS
from services.gateway.identity.visitors import Visitor, Visitors, form_token_holds
from services.gateway.limits.service import Limits
from services.gateway.proxy.errors import ClientGone, ClientTooSlow, UpstreamTimeout, UpstreamUnreachable
from services.gateway.proxy.forward import AnswerCutOff, Forwarder, Request
from services.gateway.proxy.headers import MalformedRequest, body_length, check_path, without_spoofed
from services.gateway.proxy.routing import is_open, service_of
from shared.errors import DomainError
from shared.security.principal import Principal
from shared.telemetry import span, traceparent_of

log = logging.getLogger(__name__)

REQUESTS = Counter("stowage_gateway_requests_total", "Requests by destination and class of answer", ["service", "status"])

PRINCIPAL = "stowage-internal"
_TRACE = frozenset({b"traceparent", b"tracestate", b"baggage"})
_ALIVE = frozenset({"/healthz", "/readyz", "/metrics"})


class Door:
    def __init__(
        self,
        app: ASGIApp,
        *,
        forwarders: Mapping[str, Forwarder],
        visitors: Visitors,
        passes: Passes,
        limits: Limits,
        csrf_key: bytes,
        trust_client_trace: bool,
        trusted_proxies: int,
    ) -> None:
        self._app = app
        self._forwarders = forwarders
        self._visitors = visitors
        self._passes = passes
        self._limits = limits
        self._csrf_key = csrf_key
        self._trust_trace = trust_client_trace
        self._proxies = trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _ALIVE:
            await self._app(scope, receive, send)
            return
        try:
            await self._admit(scope, receive, send)
        except DomainError as error:
            await answer_problem(error, scope, receive, send)
        except AnswerCutOff as cut:
            # Returning without the rest makes the server break the connection off, which is the one true signal left.
            log.warning("%s %s was cut off by its service (%s)", scope["method"], scope["path"], cut)
        except ClientGone:
            log.info("%s %s: the client left", scope["method"], scope["path"])

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, path = scope["headers"], scope["path"]
        try:
            length = body_length(headers)
            check_path(path)
        except MalformedRequest as error:
            raise BadRequest(str(error)) from None
        address = client_address((scope.get("client") or ("unknown", 0))[0], headers, self._proxies)
        if not self._trust_trace:
            headers = [pair for pair in headers if pair[0] not in _TRACE]
        if path.startswith("/internal/"):
            # Other services, with their own signed token; the routes behind refuse everybody else.
            await self._app({**scope, "headers": headers}, receive, send)
            return
        self._limits.address(address)
        visitor = await self._recognise(scope)
        if visitor.cookies:
            send = _with_cookies(send, visitor.cookies)
        slug = next((v.decode("latin-1") for n, v in headers if n == b"x-tenant"), None)
        principal = principal_of(visitor, slug)
        if principal.tenant_id is not None:
            self._limits.tenant(principal.tenant_id)
        self._check_form(scope, visitor)
        service = service_of(path)
        if service is None:
            await self._serve(scope, headers, visitor, principal, address, receive, send)
        else:
            request = Request(scope["method"], _target(scope), headers, length, {})
            await self.carry(service, request, scope, principal, address, receive, send)

    async def carry(
        self, service: str, request: Request, scope: Scope, principal: Principal, address: str, receive: Receive, send: Send
    ) -> int:
        """To another service and back; returns the status. Raises DomainError while nothing has been answered."""
        method, path = scope["method"], scope["path"]
        if principal.kind == "anonymous" and not is_open(method, path):
            raise Unauthorized
        parent = next((v.decode("latin-1") for n, v in request.headers if n == b"traceparent"), None) if self._trust_trace else None
        name = f"gateway {method} {'/'.join(path.split('/')[:4])}"
        forwarder = self._forwarders[service]
        with span(name, parent=parent, kind=SpanKind.SERVER) as current:
            own = {
                b"host": service.encode(),
                PRINCIPAL.encode(): self._passes.issue(principal, service),
                b"stowage-client-address": address.encode("latin-1", "replace"),
            }
            if (traceparent := traceparent_of(current)) is not None:
                own[b"traceparent"] = traceparent.encode()
            try:
                status = await _forward(forwarder, _owned(request, own), receive, send)
            except DomainError as error:
                error.extras["trace_id"] = f"{current.get_span_context().trace_id:032x}"
                REQUESTS.labels(service, f"{error.status // 100}xx").inc()
                raise
            current.set_attribute("http.response.status_code", status)
        REQUESTS.labels(service, f"{status // 100}xx").inc()
        return status

    async def _serve(
        self, scope: Scope, headers: Any, visitor: Visitor, principal: Principal, address: str, receive: Receive, send: Send
    ) -> None:
        """The gateway's own routes."""
        pass_ = (PRINCIPAL.encode(), self._passes.issue(principal, "gateway"))
        own = {**scope, "headers": [*without_spoofed(headers), pass_]}
        own["stowage"] = {"visitor": visitor, "principal": principal, "address": address, "door": self}
        await self._app(own, receive, send)

    async def _recognise(self, scope: Scope) -> Visitor:
        """Where anybody may come, credentials that are no longer good are none."""
        try:
            return await self._visitors.recognise(scope["headers"])
        except Unauthorized:
            if _needs_nobody(scope["method"], scope["path"]):
                return Visitor()
            raise

    def _check_form(self, scope: Scope, visitor: Visitor) -> None:
        """A browser sends cookies for whoever makes it ask: a change by cookie needs the page's token beside it."""
        if not visitor.by_cookie or scope["method"] in SAFE_METHODS or not scope["path"].startswith("/api/"):
            return  # forms of pages are checked where they are read
        token = next((v.decode("latin-1") for n, v in scope["headers"] if n == b"x-csrf-token"), "")
        if not form_token_holds(self._csrf_key, visitor, token):
            raise CsrfFailed


def _needs_nobody(method: str, path: str) -> bool:
    return is_open(method, path) or path.startswith("/api/auth/") or not path.startswith("/api/")


def _target(scope: Scope) -> bytes:
    query: bytes = scope["query_string"]
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw + b"?" + query if query else raw


def _owned(request: Request, own: Mapping[bytes, bytes]) -> Request:
    return Request(request.method, request.target, request.headers, request.length, own)


async def _forward(forwarder: Forwarder, request: Request, receive: Receive, send: Send) -> int:
    try:
        return await forwarder.forward(request, receive, send)
    except UpstreamTimeout as error:
        raise ServiceTimeout from error
    except UpstreamUnreachable as error:
        raise ServiceUnreachable from error
    except ClientTooSlow as error:
        raise ClientSlow from error


def _with_cookies(send: Send, cookies: list[bytes]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *((b"set-cookie", value) for value in cookies)]
        await send(message)

    return sending
