"""`/api/invoices` for a team's managers, credit notes for administrators of the platform."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime
from starlette.responses import Response

from services.billing.dependencies import Services, Tenant
from services.billing.errors import BooksOfManagers
from services.billing.invoices.paying import purchase_of
from services.billing.invoices.repository import Filter
from services.billing.invoices.rules import Kind, Status
from services.billing.invoices.schemas import CreditNoteIn, InvoiceOut, InvoiceWholeOut
from services.billing.payments.routes import InitiatedOut, PayIn, own_address
from shared.http import AdminOnly, CurrentTenant, Page, Paging, encode_cursor, read_position

router = APIRouter(prefix="/api/invoices", tags=["invoices"])
admin = APIRouter(prefix="/api/admin/invoices", tags=["admin"])


async def _manager(who: CurrentTenant, tenant: Tenant) -> UUID:
    if not who.manages:
        raise BooksOfManagers
    return tenant


ManagedTenant = Annotated[UUID, Depends(_manager)]


async def _filter(
    kind: Kind | None = None,
    status: Status | None = None,
    since: Annotated[AwareDatetime | None, Query(description="issued then or later")] = None,
    until: Annotated[AwareDatetime | None, Query(description="issued before")] = None,
) -> Filter:
    return Filter(kind, status, since, until)


@router.get("")
async def list_invoices(
    tenant: ManagedTenant, wanted: Annotated[Filter, Depends(_filter)], services: Services, paging: Paging
) -> Page[InvoiceOut]:
    """Newest first, credit notes among them."""
    found = await services.invoices.list_newest(tenant, wanted, paging.limit + 1, read_position(paging.cursor))
    more, found = len(found) > paging.limit, found[: paging.limit]
    cursor = encode_cursor(found[-1].issued_at.isoformat(), found[-1].id) if more else None
    return Page(items=[InvoiceOut.of(invoice) for invoice in found], next_cursor=cursor)


@router.post("/{invoice_id}/pay", status_code=201)
async def pay_invoice(
    invoice_id: UUID,
    body: PayIn,
    request: Request,
    who: CurrentTenant,
    tenant: ManagedTenant,
    services: Services,
) -> InitiatedOut:
    """Starts paying an open one."""
    purchase = purchase_of(await services.invoices.get(tenant, invoice_id))
    back = own_address(request, body.return_url)
    payment = await services.payments.start(tenant, str(who.tenant_slug), purchase, body.method, back)
    return InitiatedOut.of(payment)


# Before the route whose parameter would take the extension for part of an id.
@router.get("/{invoice_id}.pdf", response_class=Response, responses={200: {"content": {"application/pdf": {}}}})
async def get_pdf(invoice_id: UUID, tenant: ManagedTenant, services: Services) -> Response:
    """PDF/A-3b in the buyer's language with its XML attached (Factur-X); the same bytes every time."""
    invoice, document = await services.archive.pdf(tenant, invoice_id)
    return _file(document.content, invoice.number, "pdf", "application/pdf", document.sha256)


@router.get("/{invoice_id}.xml", response_class=Response, responses={200: {"content": {"application/xml": {}}}})
async def get_xml(invoice_id: UUID, tenant: ManagedTenant, services: Services) -> Response:
    """EN 16931 (CII)."""
    invoice, content = await services.archive.xml(tenant, invoice_id)
    return _file(content, invoice.number, "xml", "application/xml")


@router.get("/{invoice_id}")
async def get_invoice(invoice_id: UUID, tenant: ManagedTenant, services: Services) -> InvoiceWholeOut:
    return InvoiceWholeOut.of(await services.invoices.get(tenant, invoice_id))


@admin.post("/{invoice_id}/credit-notes", status_code=201)
async def issue_credit_note(
    invoice_id: UUID, body: CreditNoteIn, _who: AdminOnly, services: Services
) -> InvoiceWholeOut:
    """Gives back lines of an invoice, or all that is left of it. No money moves by it."""
    lines = None if body.lines is None else [(line.position, line.amount) for line in body.lines]
    return InvoiceWholeOut.of(await services.invoices.give_credit(body.tenant_id, invoice_id, lines, body.reason))


def _file(content: bytes, number: str, extension: str, media_type: str, digest: str | None = None) -> Response:
    name = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-._") else "-" for sign in number)
    headers = {
        "content-disposition": f'attachment; filename="{name}.{extension}"',
        "x-content-type-options": "nosniff",
        "cache-control": "private, no-cache",
    }
    if digest is not None:
        headers["etag"] = f'"{digest}"'
    return Response(content, media_type=media_type, headers=headers)
