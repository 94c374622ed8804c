"""A service's HTTP application: problems, health, metrics, the internal token, traces."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.types import ASGIApp

from shared.http import problems
from shared.http.edge import HEALTH, Edge, InternalToken
from shared.http.shortcuts import Shortcut, Shortcuts
from shared.settings import ServiceSettings
from shared.telemetry.loop import watched_loop

log = logging.getLogger(__name__)

MAX_BODY = 1024 * 1024  # bytes of a JSON body; streaming routes say their own
UNLIMITED_BODY = 2**62
CHECK_SECONDS = 3.0

Check = Callable[[], Awaitable[Any]]
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Any]]


class Application(FastAPI):
    """FastAPI, with layers around what it puts outermost itself: its body limit and its answer to a crash."""

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        public: bool,
        shortcuts: Sequence[Shortcut],
        outermost: Sequence[Middleware],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._outermost = outermost
        self._settings = settings
        self._public = public
        self._shortcuts = shortcuts

    def build_middleware_stack(self) -> ASGIApp:
        inner = super().build_middleware_stack()
        if self._shortcuts:
            inner = Shortcuts(inner, self._shortcuts)
        for layer in self._outermost:
            inner = layer.cls(inner, *layer.args, **layer.kwargs)
        return Edge(inner if self._public else InternalToken(inner, self._settings))


def create_app(
    settings: ServiceSettings,
    *,
    title: str,
    routers: Sequence[APIRouter],
    lifespan: Lifespan | None = None,
    checks: Mapping[str, Check] | None = None,
    public: bool = False,
    middleware: Sequence[Middleware] = (),
    shortcuts: Sequence[Shortcut] = (),
    outermost: Sequence[Middleware] = (),
) -> FastAPI:
    """`checks` answer `/readyz`; `public` leaves the question of who is asking to the application itself.
    `middleware` runs when it is known who asks; `shortcuts` pass it by. `outermost` runs before
    anything is traced or logged.
    """
    app = Application(
        settings,
        public=public,
        shortcuts=shortcuts,
        outermost=outermost,
        title=title,
        version="1.0.0",
        lifespan=_watched(lifespan),
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # a service behind the gateway would name a host that only the gateway reaches
        max_body_size=MAX_BODY,
        telemetry={
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
            "exclude": lambda scope: scope.get("path") in HEALTH,
        },
    )
    problems.install(app)
    for router in routers:
        app.include_router(router)
    app.include_router(health_router(checks or {}))
    for inner in middleware:
        app.add_middleware(inner.cls, *inner.args, **inner.kwargs)
    return app


def _watched(lifespan: Lifespan | None) -> Lifespan:
    @asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[Any]:
        async with watched_loop(), nullcontext() if lifespan is None else lifespan(app) as state:
            yield state

    return living


def health_router(checks: Mapping[str, Check]) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz")
    async def alive() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz")
    async def ready() -> JSONResponse:
        # Side by side: the answer must come before whoever asks loses patience.
        passed = await asyncio.gather(*(_passes(name, check) for name, check in checks.items()))
        failed = [name for name, good in zip(checks, passed, strict=True) if not good]
        status = "unready" if failed else "ready"
        return JSONResponse({"status": status, "failed": failed}, 503 if failed else 200)

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router


async def _passes(name: str, check: Check) -> bool:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except Exception as error:  # noqa: BLE001 - any failure means not ready
        log.debug("not ready: %s: %s", name, error)
        return False
    return True
