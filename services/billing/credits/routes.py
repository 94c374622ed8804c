"""A team's credits."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request
from pydantic import AwareDatetime, BaseModel, Field
from starlette.responses import StreamingResponse

from services.billing.credits.commands import Type
from services.billing.credits.errors import PeriodInvalid
from services.billing.credits.history import Filter, read_seq
from services.billing.credits.packs import purchase_of
from services.billing.credits.rules import Source
from services.billing.credits.schemas import (
    CreditDoneOut,
    CreditGrantIn,
    CreditPacksOut,
    CreditsOut,
    CreditStatementOut,
    CreditTransactionOut,
)
from services.billing.dependencies import ManagedTenant, Services, Tenant
from services.billing.payments.routes import InitiatedOut, PayIn, own_address
from shared.http import AdminOnly, CurrentTenant, Page, Paging, encode_cursor
from shared.ids import new_id

router = APIRouter(prefix="/api", tags=["credits"])

_CSV: Any = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}
Moment = Annotated[AwareDatetime | None, Query()]


@router.get("/credits")
async def get_credits(tenant: Tenant, services: Services) -> CreditsOut:
    """What can be spent, and the grants it stands in, in the order in which they burn."""
    found = await services.credit_balance.now(tenant)
    return CreditsOut.model_validate(found, from_attributes=True)


@router.get("/credits/transactions", response_model=Page[CreditTransactionOut], responses=_CSV)
async def list_credit_transactions(
    request: Request,
    tenant: Tenant,
    services: Services,
    paging: Paging,
    *,
    since: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    to: Moment = None,
    type: Type | None = None,  # noqa: A002 - the parameter's name
    source: Source | None = None,
    format: Literal["json", "csv"] | None = None,  # noqa: A002
) -> Any:
    """Newest first; as CSV all of them, oldest first. `source`: what came from there and what was paid with it."""
    wanted = Filter(type, source, since, to)
    if format == "csv" or (format is None and request.headers.get("accept", "").startswith("text/csv")):
        return StreamingResponse(services.credit_history.csv(tenant, wanted), media_type="text/csv")
    found = await services.credit_history.list_newest(tenant, wanted, paging.limit + 1, read_seq(paging.cursor))
    more, found = len(found) > paging.limit, found[: paging.limit]
    items = [CreditTransactionOut(**row) for row in found]
    return Page(items=items, next_cursor=encode_cursor(items[-1].seq) if more else None)


@router.get("/credits/statement")
async def get_credit_statement(
    tenant: Tenant,
    services: Services,
    since: Annotated[AwareDatetime, Query(alias="from")],
    to: Annotated[AwareDatetime, Query()],
) -> CreditStatementOut:
    """Of the time from `from` on and before `to`. One period's closing balance is the next one's opening balance."""
    if not since < to:
        raise PeriodInvalid
    return CreditStatementOut.of(await services.credit_balance.statement(tenant, since, to))


@router.get("/credits/packs")
async def list_credit_packs(_tenant: Tenant, services: Services) -> CreditPacksOut:
    """What can be bought, and what it buys."""
    return CreditPacksOut.of(services.credit_catalogue)


@router.post("/admin/credits/grants", status_code=201)
async def grant_credits(body: CreditGrantIn, who: AdminOnly, services: Services) -> CreditDoneOut:
    """Administrators of the platform only. The same `client_id` grants once."""
    return CreditDoneOut.of(
        await services.credits.add(
            body.tenant_id,
            body.amount,
            body.source,
            body.description,
            client_id=body.client_id,
            by=str(who.user_id),
            expires_at=body.expires_at,
        )
    )


class TrafficIn(BaseModel):
    """Of 1024³ bytes each."""

    gigabytes: int = Field(ge=1, le=1_000_000)


@router.post("/credits/traffic", status_code=201)
async def buy_traffic(
    body: TrafficIn,
    who: CurrentTenant,
    tenant: ManagedTenant,
    services: Services,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> CreditDoneOut:
    """Spends credits on traffic above the plan's, of the month that runs; what is not used of it ends with the month.
    402 when there are not enough, 409 `traffic_unlimited` where the plan has no limit.
    """
    client_id = str(new_id()) if idempotency_key is None else f"{who.user_id}:{idempotency_key}"
    return CreditDoneOut.of(
        await services.traffic.buy(tenant, body.gigabytes, client_id=client_id, by=str(who.user_id))
    )


class CreditPurchaseIn(PayIn):
    """`currency` is the installation's unless told otherwise; `return_url` as for a payment of a plan."""

    pack: str = Field(max_length=32)
    currency: str | None = Field(default=None, pattern=r"^[A-Z]{3}$")


@router.post("/credits/purchase", status_code=201)
async def purchase_credits(
    body: CreditPurchaseIn, request: Request, who: CurrentTenant, tenant: ManagedTenant, services: Services
) -> InitiatedOut:
    """Starts paying for a pack; what it holds is granted when the money has come."""
    purchase = purchase_of(services.credit_catalogue, body.pack, body.currency or services.catalogue.currency)
    back = own_address(request, body.return_url)
    payment = await services.payments.start(tenant, str(who.tenant_slug), purchase, body.method, back)
    return InitiatedOut.of(payment)
