"""A service's HTTP application: problems, health, metrics, the internal token, traces."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http import problems
from shared.security import InvalidToken, verify
from shared.security.internal import HEADER
from shared.settings import ServiceSettings

log = logging.getLogger(__name__)

HEALTH = frozenset({"/healthz", "/readyz", "/metrics"})
MAX_BODY = 1024 * 1024  # bytes of a JSON body; streaming routes say their own
UNLIMITED_BODY = 2**62

Check = Callable[[], Awaitable[Any]]
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Any]]


def create_app(
    settings: ServiceSettings,
    *,
    title: str,
    routers: Sequence[APIRouter],
    lifespan: Lifespan | None = None,
    checks: Mapping[str, Check] | None = None,
    public: bool = False,
    middleware: Sequence[Middleware] = (),
) -> FastAPI:
    """`checks` answer `/readyz`; `public` leaves the question of who is asking to the application itself.
    `middleware` runs when it is known who asks.
    """
    app = FastAPI(
        title=title,
        version="1.0.0",
        lifespan=lifespan,
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        max_body_size=MAX_BODY,
        telemetry={
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "exclude": lambda scope: scope.get("path") in HEALTH,
        },
    )
    problems.install(app)
    for router in routers:
        app.include_router(router)
    app.include_router(health_router(checks or {}))
    for inner in middleware:
        app.add_middleware(inner.cls, *inner.args, **inner.kwargs)
    if not public:
        app.add_middleware(InternalToken, settings=settings)
    app.add_middleware(SecurityHeaders)
    return app


def health_router(checks: Mapping[str, Check]) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz")
    async def alive() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz")
    async def ready() -> JSONResponse:
        failed = [name for name, check in checks.items() if not await _passes(name, check)]
        status = "unready" if failed else "ready"
        return JSONResponse({"status": status, "failed": failed}, 503 if failed else 200)

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router


async def _passes(name: str, check: Check) -> bool:
    try:
        async with asyncio.timeout(3):
            await check()
    except Exception as error:  # noqa: BLE001 - any failure means not ready
        log.debug("not ready: %s: %s", name, error)
        return False
    return True


class InternalToken:
    """Refuses what no sister service vouches for. Pure ASGI: bodies stream through untouched."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings) -> None:
        self._app = app
        self._secret = settings.internal_secret
        self._audience = settings.service_name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in HEALTH:
            try:
                token = Headers(scope=scope).get(HEADER, "")
                principal = verify(token, secret=self._secret, audience=self._audience)
            except InvalidToken:
                response = problems.problem_response(
                    401,
                    "internal_token_required",
                    "This address is not for the public.",
                    headers={"connection": "close"},
                )
                await response(scope, receive, send)
                return
            scope.setdefault("state", {})["principal"] = principal
        await self._app(scope, receive, send)


class SecurityHeaders:
    """`nosniff` on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault("x-content-type-options", "nosniff")
            await send(message)

        await self._app(scope, receive, send_safely if scope["type"] == "http" else send)
