"""Forms of the pages: each checks its token, does one thing, and sends the browser on."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from services.gateway.accounts.service import Application
from services.gateway.dependencies import Address, Caller, Parts
from services.gateway.errors import CsrfFailed
from services.gateway.identity.visitors import form_token_holds
from services.gateway.notifications.repository import NotificationRepository
from services.gateway.pages.render import render
from services.gateway.pages.rules import code_of_refusal
from services.gateway.pages.sources import Sources
from services.gateway.pages.views import show_home
from services.gateway.sessions.service import Tokens
from shared.errors import DomainError, UpstreamError
from shared.http import CurrentTenant


def check_form(caller: Caller, parts: Parts, csrf: Annotated[str, Form()] = "") -> None:
    if not form_token_holds(parts.form_key, caller, csrf):
        raise CsrfFailed


router = APIRouter(include_in_schema=False, dependencies=[Depends(check_form)])

Text = Annotated[str, Form(max_length=1024)]


@router.post("/signup")
async def sign_up(
    request: Request,
    caller: Caller,
    parts: Parts,
    address: Address,
    email: Text = "",
    password: Text = "",
    name: Text = "",
    organization: Text = "",
) -> Response:
    try:
        parts.limits.signup(address)
        made = await parts.accounts.sign_up(Application(email, password, name, organization))
    except DomainError as error:
        typed = {"email": email, "name": name, "organization": organization}
        return show_home(
            request,
            caller,
            parts.form_key,
            parts.visitors.visit_cookie,
            status=error.status,
            signup_error=error.detail,
            values=typed,
        )
    return _signed_in(parts, made.tokens)


@router.post("/login")
async def log_in(
    request: Request, caller: Caller, parts: Parts, address: Address, email: Text = "", password: Text = ""
) -> Response:
    try:
        parts.limits.login(address, email)
        tokens = await parts.accounts.log_in(email, password)
    except DomainError as error:
        return show_home(
            request,
            caller,
            parts.form_key,
            parts.visitors.visit_cookie,
            status=error.status,
            login_error=error.detail,
            values={"login_email": email},
        )
    return _signed_in(parts, tokens)


@router.post("/logout")
async def log_out(caller: Caller, parts: Parts) -> Response:
    if caller.session_id is not None:
        await parts.sessions.end(caller.session_id)
        parts.visitors.forget(caller.session_id)
    return _with_cookies(RedirectResponse("/", 303), parts.visitors.sign_out_cookies())


@router.post("/app/files/{file_id}/delete")
async def delete_file(
    file_id: UUID, parts: Parts, tenant: CurrentTenant, page: Annotated[str, Form(alias="from")] = ""
) -> Response:
    """Back to the page it was asked on."""
    notice = "deleted"
    try:
        await Sources(parts.clients).delete_file(tenant, str(file_id))
    except UpstreamError as error:
        notice = code_of_refusal(error.status, error.code)
    return RedirectResponse(f"/app/files?notice={notice}" if page == "files" else f"/app?notice={notice}#files", 303)


@router.post("/app/notifications/{notification_id}/read")
async def mark_read(notification_id: UUID, parts: Parts, tenant: CurrentTenant) -> Response:
    if tenant.tenant_id is not None:
        async with parts.database.transaction(tenant.tenant_id) as connection:
            await NotificationRepository(connection).mark_read(tenant.tenant_id, notification_id, parts.clock.now())
    return RedirectResponse("/app", 303)


@router.post("/app/upgrade")
async def upgrade(
    request: Request, caller: Caller, parts: Parts, tenant: CurrentTenant, plan: Text, method: Text = "credit_card"
) -> Response:
    """Starts the payment and shows the way to the provider's page."""
    try:
        payment = await Sources(parts.clients).start_payment(tenant, plan, method, "/app?notice=paid")
    except UpstreamError as error:
        return RedirectResponse(f"/app/plans?notice={code_of_refusal(error.status, error.code)}", 303)
    return render(request, "pay.html", caller, parts.form_key, here="plans", payment=payment)


@router.post("/app/invoices/{invoice_id}/pay")
async def pay_invoice(
    request: Request,
    invoice_id: UUID,
    caller: Caller,
    parts: Parts,
    tenant: CurrentTenant,
    method: Text = "credit_card",
) -> Response:
    """As an upgrade is paid."""
    back = "/app/plans?notice=invoice_paid"
    try:
        payment = await Sources(parts.clients).pay_invoice(tenant, invoice_id, method, back)
    except UpstreamError as error:
        return RedirectResponse(f"/app/plans?notice={code_of_refusal(error.status, error.code)}", 303)
    return render(request, "pay.html", caller, parts.form_key, here="plans", payment=payment)


def _signed_in(parts: Parts, tokens: Tokens) -> Response:
    return _with_cookies(RedirectResponse("/app", 303), parts.visitors.sign_in_cookies(tokens))


def _with_cookies(response: Response, cookies: list[bytes]) -> Response:
    response.raw_headers.extend((b"set-cookie", value) for value in cookies)
    return response
