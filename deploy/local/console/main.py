"""The console's process: OTLP in, pages out, and the mail catcher beside it."""

import asyncio
import gzip
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # no stubs among our packages
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from deploy.local.console import mail
from deploy.local.console.traces import TraceStore, as_json

templates = Jinja2Templates(Path(__file__).parent / "templates")
store = TraceStore()


async def take(request: Request) -> Response:
    """OTLP/HTTP, protobuf, gzip or not."""
    payload = await request.body()
    try:
        if request.headers.get("content-encoding") == "gzip":
            payload = gzip.decompress(payload)
        store.add(payload)
    except (DecodeError, OSError, EOFError):
        return Response("not an export request", 400)
    return Response(b"", media_type="application/x-protobuf")


async def list_traces(_request: Request) -> Response:
    return JSONResponse({"items": store.newest()})


async def get_trace(request: Request) -> Response:
    trace_id = request.path_params["trace_id"]
    spans = store.get(trace_id)
    if spans is None:
        return JSONResponse({"detail": "no such trace"}, 404)
    return JSONResponse({"trace_id": trace_id, "spans": as_json(spans)})


async def traces_page(request: Request) -> Response:
    wanted = request.query_params.get("trace", "").strip().lower()
    if wanted and store.get(wanted) is not None:
        return RedirectResponse(f"/trace/{wanted}", 303)
    items = [{**item, "at": _clock(item["start"])} for item in store.newest()]
    return templates.TemplateResponse(request, "traces.html", {"items": items, "wanted": wanted, "here": "traces"})


async def trace_page(request: Request) -> Response:
    trace_id = request.path_params["trace_id"]
    spans = store.get(trace_id)
    if spans is None:
        return templates.TemplateResponse(
            request, "traces.html", {"items": [], "wanted": trace_id, "here": "traces"}, status_code=404
        )
    return templates.TemplateResponse(
        request,
        "trace.html",
        {"trace_id": trace_id, "rows": _waterfall(spans), "total": _total(spans), "here": "traces"},
    )


async def mail_page(request: Request) -> Response:
    mails = await asyncio.to_thread(mail.list_mails, _mail_folder())
    return templates.TemplateResponse(request, "mail.html", {"mails": mails, "here": "mail"})


async def healthy(_request: Request) -> Response:
    return JSONResponse({"status": "ready"})


def _waterfall(spans: list[Any]) -> list[dict[str, Any]]:
    """Rows in tree order, each with its depth and its place on the time axis in percent."""
    begin, total = min(span.start for span in spans), max(_total(spans) * 1e6, 1)
    known = {span.span_id for span in spans}
    below: dict[str | None, list[Any]] = {}
    for span in spans:
        below.setdefault(span.parent_id if span.parent_id in known else None, []).append(span)
    rows: list[dict[str, Any]] = []

    def walk(parent: str | None, depth: int) -> None:
        for span in below.get(parent, []):
            rows.append(
                {
                    "span": span,
                    "depth": min(depth, 12),
                    "left": round((span.start - begin) / total * 100, 3),
                    "width": max(round((span.end - span.start) / total * 100, 3), 0.4),
                    "milliseconds": (span.end - span.start) / 1e6,
                }
            )
            walk(span.span_id, depth + 1)

    walk(None, 0)
    return rows


def _total(spans: list[Any]) -> float:
    return float(max(span.end for span in spans) - min(span.start for span in spans)) / 1e6


def _clock(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).strftime("%H:%M:%S.%f")[:-3]


def _mail_folder() -> Path:
    return Path(os.environ["MAIL_DIR"])


@asynccontextmanager
async def _lifespan(_app: Starlette) -> AsyncIterator[None]:
    catcher = await mail.start(_mail_folder(), int(os.environ["SMTP_PORT"]))
    yield
    catcher.close()


app = Starlette(
    routes=[
        Route("/", traces_page),
        Route("/trace/{trace_id}", trace_page),
        Route("/mail", mail_page),
        Route("/v1/traces", take, methods=["POST"]),
        Route("/api/traces", list_traces),
        Route("/api/traces/{trace_id}", get_trace),
        Route("/healthz", healthy),
        Route("/readyz", healthy),
    ],
    lifespan=_lifespan,
)


def main() -> None:
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
