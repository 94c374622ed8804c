"""The only way in: every request is cleaned, recognised, counted, and then carried to whom it is for.

The gateway's own routes are one of four destinations and hear who asks in the same signed header as the others.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.door.address import client_address
from services.gateway.door.answers import answer_problem
from services.gateway.door.arrival import Arrival, find
from services.gateway.door.carrier import Carrier
from services.gateway.errors import BadRequest, ClientSlow, CsrfFailed, Unauthorized
from services.gateway.identity.passes import Passes, principal_of
from services.gateway.identity.rules import SAFE_METHODS
from services.gateway.identity.visitors import Visitor, Visitors, form_token_holds
from services.gateway.limits.service import Limits
from services.gateway.pages import upload
from services.gateway.pages.rules import code_of_refusal
from services.gateway.proxy.errors import ClientGone
from services.gateway.proxy.forward import AnswerCutOff, Forwarder
from services.gateway.proxy.headers import MalformedRequest, body_length, check_path, without_spoofed
from services.gateway.proxy.routing import (
    holds_names,
    is_download,
    is_open,
    owner_named,
    service_of,
    sets_no_headers,
)
from services.gateway.traffic.gate import TrafficGate
from services.gateway.traffic.meter import Meter
from services.gateway.traffic.service import Traffic
from shared.errors import DomainError
from shared.http.cards import check_head
from shared.security.internal import HEADER

log = logging.getLogger(__name__)

_TRACE = frozenset({b"traceparent", b"tracestate", b"baggage"})
_ALIVE = frozenset({"/healthz", "/readyz", "/metrics"})


class Door:
    """`app` serves what is the gateway's own."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        forwarders: Mapping[str, Forwarder],
        visitors: Visitors,
        passes: Passes,
        limits: Limits,
        traffic: Traffic,
        gate: TrafficGate,
        csrf_key: bytes,
        trust_client_trace: bool,
        trusted_proxies: int,
        client_seconds: float,
    ) -> None:
        self._app = app
        self._carrier = Carrier(forwarders, passes)
        self._visitors = visitors
        self._passes = passes
        self._limits = limits
        self._traffic = traffic
        self._gate = gate
        self._csrf_key = csrf_key
        self._trust_trace = trust_client_trace
        self._proxies = trusted_proxies
        self._patience = client_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _ALIVE:
            await self._app(scope, receive, send)
            return
        meter = self._traffic.begin(scope, receive, send)
        try:
            await self._admit(scope, meter)
        except DomainError as error:
            await answer_problem(error, scope, meter.receive, meter.send)
        except AnswerCutOff as cut:
            # Returning without the rest makes the server break the connection off: the one true signal left.
            log.warning("%s %s was cut off by its service (%s)", scope["method"], scope["path"], cut)
        except ClientGone:
            log.info("%s %s: the client left", scope["method"], scope["path"])
        finally:
            self._traffic.end(meter)

    async def _admit(self, scope: Scope, meter: Meter) -> None:
        headers = scope["headers"]
        send: Send = meter.send
        try:
            length = body_length(headers)
            check_path(scope["path"])
        except MalformedRequest as error:
            raise BadRequest(str(error)) from None
        address = client_address((scope.get("client") or ("unknown", 0))[0], headers, self._proxies)
        if not self._trust_trace:
            headers = [pair for pair in headers if pair[0] not in _TRACE]
        if scope["path"].startswith("/internal/"):
            # Other services, with their own signed token; the routes behind refuse everybody else.
            await self._app({**scope, "headers": headers}, meter.receive, send)
            return
        self._limits.address(address)
        visitor = await self._recognise(scope)
        if visitor.cookies:
            send = _with_cookies(send, visitor.cookies)
        principal = principal_of(visitor, find(headers, b"x-tenant"))
        meter.tenant = principal.tenant_id
        arrival = Arrival(scope, meter.receive, send, headers, length, address, visitor, principal, meter)
        if principal.tenant_id is not None:
            self._limits.tenant(principal.tenant_id)
        self._check_form(arrival)
        await self._lead(arrival)

    async def _lead(self, arrival: Arrival) -> None:
        service = service_of(arrival.path)
        if service == "billing" or (service is None and not holds_names(arrival.path)):
            # Before a span or a log could name it.
            check_head(arrival.path, arrival.scope["query_string"], arrival.headers)
        if arrival.path == upload.PATH and arrival.method == "POST":
            await self._upload_by_form(arrival)
        elif service is None:
            await self._serve(arrival)
        elif arrival.visitor.account is None and not is_open(arrival.method, arrival.path):
            raise Unauthorized
        else:
            if is_download(arrival.method, arrival.path):
                await self._check_traffic(arrival)
            await self._carrier.carry(service, arrival, arrival.target)

    async def _check_traffic(self, arrival: Arrival) -> None:
        """Of whoever's file it is."""
        caller = arrival.principal.tenant_id
        owner = owner_named(arrival.path) or caller
        if owner is not None:
            await self._gate.check(owner, insider=owner == caller)

    async def _serve(self, arrival: Arrival) -> None:
        """The gateway's own routes."""
        token = (HEADER.encode(), self._passes.issue(arrival.principal, "gateway"))
        scope = {**arrival.scope, "headers": [*without_spoofed(arrival.headers), token], "stowage": arrival}
        await self._app(scope, _patient(arrival, self._patience), arrival.send)

    async def _upload_by_form(self, arrival: Arrival) -> None:
        """A page's form: the same streaming way, another answer."""
        if arrival.visitor.account is None:
            await upload.see_other(arrival.send, "/")
            return
        try:
            upload.check_form(self._csrf_key, arrival.visitor, arrival.scope)
            page = replace(arrival, send=upload.PageAnswer(arrival.send).send)
            await self._carrier.carry("upload", page, b"/api/storage/upload")
        except DomainError as error:
            await upload.see_other(arrival.send, f"/app?notice={code_of_refusal(error.status, error.code)}")

    async def _recognise(self, scope: Scope) -> Visitor:
        """Where anybody may come, credentials that are no longer good are none."""
        try:
            return await self._visitors.recognise(scope["headers"])
        except Unauthorized:
            if _open_to_all(scope["method"], scope["path"]):
                return Visitor()
            raise

    def _check_form(self, arrival: Arrival) -> None:
        """A browser sends cookies for whoever makes it ask: a change by cookie needs the page's token beside it."""
        if not arrival.visitor.by_cookie or arrival.method in SAFE_METHODS or not arrival.path.startswith("/api/"):
            return  # forms of pages are checked where they are read
        if is_open(arrival.method, arrival.path):
            return  # nothing hangs on who asks
        if sets_no_headers(arrival.path) and arrival.header(b"sec-fetch-site") == "same-origin":
            return  # a browser says so itself, and no page can make it
        if not form_token_holds(self._csrf_key, arrival.visitor, arrival.header(b"x-csrf-token") or ""):
            raise CsrfFailed


def _open_to_all(method: str, path: str) -> bool:
    return is_open(method, path) or path.startswith("/api/auth/") or not path.startswith("/api/")


def _patient(arrival: Arrival, seconds: float) -> Receive:
    """The server waits for ever for the rest of a body; this hangs up on one that does not come."""
    whole = arrival.length == 0

    async def receiving() -> Message:
        nonlocal whole
        try:
            async with asyncio.timeout(None if whole else seconds):
                message = await arrival.receive()
        except TimeoutError:
            raise ClientSlow from None
        whole = whole or not message.get("more_body", False)
        return message

    return receiving


def _with_cookies(send: Send, cookies: list[bytes]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *((b"set-cookie", value) for value in cookies)]
        await send(message)

    return sending
