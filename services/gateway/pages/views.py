"""Pages that only show."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, RedirectResponse

from services.gateway.dependencies import Caller, Parts
from services.gateway.identity.visitors import Visitor
from services.gateway.notifications.models import Notification
from services.gateway.notifications.repository import NotificationRepository
from services.gateway.notifications.texts import language_of, texts_of
from services.gateway.notifications.wording import told_in
from services.gateway.pages.render import STATIC, render
from services.gateway.pages.sources import Sources
from shared.errors import UpstreamError
from shared.http import CurrentPrincipal
from shared.security import Principal

router = APIRouter(include_in_schema=False)

SHOWN_NOTIFICATIONS = 8
_ASSETS = {
    "stowage.css": "text/css",
    "stowage.js": "text/javascript",
    "tus.js": "text/javascript",
    "copy.js": "text/javascript",
    "mark.svg": "image/svg+xml",
    "harbour.svg": "image/svg+xml",
}
_FAILED = "That export could not be made"
EMPTY = {"name": "", "organization": "", "email": "", "login_email": ""}


@router.get("/")
async def home(request: Request, caller: Caller, parts: Parts) -> Response:
    if caller.account is not None:
        return RedirectResponse("/app", 303)
    return show_home(request, caller, parts.form_key, parts.visitors.visit_cookie)


@router.get("/app")
async def storage(request: Request, caller: Caller, parts: Parts, principal: CurrentPrincipal) -> Response:
    if caller.account is None:
        return RedirectResponse("/", 303)
    view = await Sources(parts.clients).storage(principal)
    return render(
        request,
        "storage.html",
        caller,
        parts.form_key,
        here="storage",
        quota=view.quota,
        files=view.files,
        plan=view.plan,
        upgrade=view.upgrade,
        **await _notifications(parts, caller, principal),
    )


@router.get("/app/recent")
async def recent_files(request: Request, caller: Caller, parts: Parts, principal: CurrentPrincipal) -> Response:
    """The list alone, for the page's script."""
    if caller.account is None:
        return RedirectResponse("/", 303)
    return render(request, "files.html", caller, parts.form_key, files=await Sources(parts.clients).files(principal))


@router.get("/app/notifications")
async def notifications(request: Request, caller: Caller, parts: Parts, principal: CurrentPrincipal) -> Response:
    """The list alone, for the page's script."""
    if caller.account is None:
        return RedirectResponse("/", 303)
    return render(
        request, "notifications.html", caller, parts.form_key, **await _notifications(parts, caller, principal)
    )


@router.get("/app/files/{file_id}")
async def open_file(file_id: UUID, caller: Caller, parts: Parts, principal: CurrentPrincipal) -> Response:
    if caller.account is None:
        return RedirectResponse("/", 303)
    try:
        address = await Sources(parts.clients).file_url(principal, str(file_id))
    except UpstreamError as error:
        return RedirectResponse(f"/app?notice={'not_found' if error.status == 404 else 'refused'}", 303)
    return RedirectResponse(address, 303, headers={"cache-control": "no-store"})


@router.get("/app/plans")
async def plans(request: Request, caller: Caller, parts: Parts, principal: CurrentPrincipal) -> Response:
    if caller.account is None:
        return RedirectResponse("/", 303)
    sources = Sources(parts.clients)
    found, invoices = await asyncio.gather(sources.plans(principal), sources.open_invoices(principal))
    return render(request, "plans.html", caller, parts.form_key, here="plans", plans=found, invoices=invoices)


@router.get("/app/exports/{export_id}")
async def fetch_export(
    request: Request, export_id: UUID, caller: Caller, parts: Parts, principal: CurrentPrincipal
) -> Response:
    """Where mails lead to: the archive itself, as long as it is kept; or why there is none."""
    if caller.account is None:
        return RedirectResponse("/", 303)
    try:
        status, error = await Sources(parts.clients).export_status(principal, export_id)
    except UpstreamError:
        status, error = "gone", None
    if status == "failed":
        said = f"{error or ''} It was tried many times. Nothing of what is stored is lost; ask for a new one."
        return render(request, "problem.html", caller, parts.form_key, title=_FAILED, detail=said.strip())
    if status not in {"ready", "incomplete"}:
        return RedirectResponse("/app?notice=export_gone", 303)
    return RedirectResponse(f"/api/user/exports/{export_id}/content", 303)


@router.get("/static/{name}")
async def static(name: str) -> Response:
    if name not in _ASSETS:
        return Response(status_code=404)
    headers = {"cache-control": "public, max-age=31536000, immutable"}
    return FileResponse(STATIC / name, media_type=_ASSETS[name], headers=headers)


def show_home(
    request: Request,
    caller: Visitor,
    key: bytes,
    visit_cookie: Callable[[str], bytes],
    *,
    status: int = 200,
    **values: Any,
) -> Response:
    """Sign-up and login. Somebody without a visit gets one here: their forms are bound to it."""
    fresh = not caller.visit
    if fresh:
        caller.visit = secrets.token_urlsafe(18)
    texts = {**EMPTY, **values.pop("values", {})}
    errors = {"signup_error": None, "login_error": None, **values}
    response = render(request, "home.html", caller, key, status=status, values=texts, **errors)
    if fresh:
        response.headers["set-cookie"] = visit_cookie(caller.visit).decode()
    return response


async def _notifications(parts: Parts, caller: Visitor, principal: Principal) -> dict[str, Any]:
    """In the reader's language, which may be another than the page's."""
    language = language_of(caller.locale)
    found: list[Notification] = []
    if principal.tenant_id is not None:
        async with parts.database.transaction(principal.tenant_id) as connection:
            found = await NotificationRepository(connection).list_for(principal.tenant_id, SHOWN_NOTIFICATIONS)
    return {
        "notifications": [told_in(language, notification) for notification in found],
        "language": language,
        "direction": texts_of(language).direction,
    }
