"""The provider's API (S4.6), its page for people, and its switches."""

import hmac
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import segno
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from deploy.sandbox_payments.book import AnotherOrder, Behaviour, Book, NotPaid, Order, Payment, RefundOrder
from deploy.sandbox_payments.callbacks import Courier
from deploy.sandbox_payments.events import events_of

templates = Jinja2Templates(Path(__file__).parent / "templates")

ENDS = {"pay": "completed", "fail": "failed", "cancel": "cancelled"}

# The page needs nothing but itself, and cannot be framed.
_PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


class Provider:
    """All of it. `base_url` is how people and the customer's backend reach it."""

    def __init__(self, *, api_key: str, courier: Courier, base_url: str, folder: Path | None) -> None:
        self._api_key = api_key
        self._base_url = base_url.rstrip("/")
        self._courier = courier
        self._book = Book(folder)

    async def initiate(self, request: Request) -> Response:
        try:
            order = Order.model_validate_json(await request.body())
        except ValidationError as error:
            return _refuse(422, _why(error))
        if request.headers.get("idempotency-key", order.payment_id) != order.payment_id:
            return _refuse(422, "the idempotency key is the payment's id")
        if not _is_loopback(order.callback_url):
            return _refuse(422, "the sandbox calls back on this machine only")
        try:
            payment = self._book.create(order)
        except AnotherOrder:
            return _refuse(422, "this payment id was another order's")
        url = self._url(payment)
        return JSONResponse({**payment.public(), "payment_url": url, "qr_code": _qr_code(url)}, 201)

    async def status(self, request: Request) -> Response:
        payment = self._payment(request)
        return _refuse(404, "no such payment") if payment is None else JSONResponse(payment.public())

    async def cancel(self, request: Request) -> Response:
        payment = self._payment(request)
        if payment is None:
            return _refuse(404, "no such payment")
        return JSONResponse(self._end(payment, "cancelled").public())

    async def refund(self, request: Request) -> Response:
        """All or part of what was paid; the same refund id again is the same refund."""
        try:
            wanted = RefundOrder.model_validate_json(await request.body())
        except ValidationError as error:
            return _refuse(422, _why(error))
        payment = self._payment(request)
        if payment is None:
            return _refuse(404, "no such payment")
        try:
            refund = self._book.refund(payment, wanted)
        except NotPaid as error:
            return _refuse(422, str(error))
        return JSONResponse(refund, 201)

    async def page(self, request: Request) -> Response:
        payment = self._payment(request)
        values = {"payment": payment, "code": _qr_code(self._url(payment)) if payment else None}
        status = 200 if payment else 404
        return templates.TemplateResponse(request, "pay.html", values, status_code=status, headers=_PAGE_HEADERS)

    async def press(self, request: Request) -> Response:
        payment = self._payment(request)
        async with request.form(max_files=0, max_fields=4) as form:
            action = form.get("action")
        if payment is None or action not in ENDS:
            return _refuse(404, "no such payment")
        self._end(payment, ENDS[str(action)])
        return RedirectResponse(payment.order.return_url, 303)

    async def behave(self, request: Request) -> Response:
        """Holds until the next call; `{}` is good behaviour again."""
        try:
            told = await request.json()
            payment_id = told.pop("payment_id", None)
            behaviour = Behaviour.model_validate(told)
        except ValidationError as error:
            return _refuse(422, _why(error))
        except (ValueError, TypeError, AttributeError):
            return _refuse(422, "wanted: an object")
        self._book.set_behaviour(behaviour, payment_id)
        return JSONResponse({"behaviour": behaviour.model_dump(), "payment_id": payment_id})

    async def act(self, request: Request) -> Response:
        payment = self._payment(request)
        action = request.path_params["action"]
        if payment is None or action not in ENDS:
            return _refuse(404, "no such payment or action")
        return JSONResponse(self._end(payment, ENDS[action]).public())

    async def redeliver(self, request: Request) -> Response:
        payment = self._payment(request)
        if payment is None or not payment.sent:
            return _refuse(404, "nothing was sent about such a payment")
        self._courier.send(payment.order.callback_url, payment.sent)
        return JSONResponse({"events": len(payment.sent)})

    async def close(self) -> None:
        await self._courier.close()

    def knows(self, request: Request) -> bool:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(given.encode(), self._api_key.encode())

    def _end(self, payment: Payment, status: str) -> Payment:
        if not payment.open:
            return payment
        done = self._book.close(payment, status)
        behaviour = self._book.behaviour_of(done)
        events = events_of(done, behaviour)
        done = replace(done, sent=[event for event in events if not event.forged])
        self._book.keep(done)
        if not behaviour.never:
            self._courier.send(done.order.callback_url, events, delay=behaviour.delay_ms / 1000)
        return done

    def _payment(self, request: Request) -> Payment | None:
        return self._book.find(request.path_params["id"])

    def _url(self, payment: Payment) -> str:
        return f"{self._base_url}/pay/{payment.external_payment_id}"


Answer = Callable[[Request], Awaitable[Response]]


def create(provider: Provider) -> Starlette:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await provider.close()

    def guarded(answer: Answer) -> Answer:
        async def only_with_key(request: Request) -> Response:
            return await answer(request) if provider.knows(request) else _refuse(401, "unknown API key")

        return only_with_key

    post, get = ["POST"], ["GET"]
    routes: list[tuple[str, Answer, list[str]]] = [
        ("/api/v1/payments/initiate", guarded(provider.initiate), post),
        ("/api/v1/payments/{id}/status", guarded(provider.status), get),
        ("/api/v1/payments/{id}/cancel", guarded(provider.cancel), post),
        ("/api/v1/payments/{id}/refund", guarded(provider.refund), post),
        ("/pay/{id}", provider.page, get),
        ("/pay/{id}", provider.press, post),
        ("/sandbox/behaviour", provider.behave, post),
        ("/sandbox/payments/{id}/{action}", provider.act, post),
        ("/sandbox/redeliver/{id}", provider.redeliver, post),
        ("/healthz", _healthy, get),
        ("/readyz", _healthy, get),
    ]
    return Starlette(routes=[Route(path, work, methods=methods) for path, work, methods in routes], lifespan=lifespan)


def from_environment() -> Provider:
    folder = os.environ.get("SANDBOX_HOME")
    port = os.environ["PORT"]
    return Provider(
        api_key=os.environ["PAYMENT_API_KEY"],
        courier=Courier(os.environ["PAYMENT_SIGNING_SECRETS"].split(",")[0].strip()),
        base_url=os.environ.get("SANDBOX_URL", f"http://127.0.0.1:{port}"),
        folder=Path(folder) if folder else None,
    )


async def _healthy(_request: Request) -> Response:
    return JSONResponse({"status": "ready"})


def _refuse(status: int, why: str) -> JSONResponse:
    return JSONResponse({"error": why}, status)


def _why(error: ValidationError) -> str:
    first: Any = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _qr_code(url: str) -> str:
    return segno.make(url, error="m").svg_data_uri(scale=4, dark="#17212b", light="#ffffff")


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    # In a compose network the customer has a name; whoever runs it there says so.
    if host == "localhost" or (host and host in os.environ.get("SANDBOX_CALLBACK_HOSTS", "").split(",")):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
