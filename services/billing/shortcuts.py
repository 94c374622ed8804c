"""Callbacks come in crowds, and are acknowledged at once."""

from fastapi import Request, Response

from services.billing.dependencies import services_of
from services.billing.payments.routes import take_callback, take_stripe_event
from shared.http import Shortcut


async def _callback(request: Request) -> Response:
    return await take_callback(request, await services_of(request))


async def _stripe(request: Request) -> Response:
    return await take_stripe_event(request, await services_of(request))


SHORTCUTS = (
    Shortcut("POST", "/api/payments/callback", _callback),
    Shortcut("POST", "/api/payments/stripe/webhook", _stripe),
)
