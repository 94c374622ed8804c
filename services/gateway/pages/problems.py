"""A refusal of a page is a page."""

from collections.abc import Awaitable, Callable
from typing import cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from services.gateway.dependencies import GatewayParts, visitor_of
from services.gateway.pages.render import render
from shared.errors import DomainError

Handler = Callable[[Request, Exception], Awaitable[Response]]

_TITLES = {403: "Not this time", 404: "Not found", 422: "Something is missing", 429: "A little slower, please"}


def install(app: FastAPI) -> None:
    """Beside the handlers that are there, for addresses that people see."""
    for kind in (DomainError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _handler(cast("Handler", app.exception_handlers[kind])))


def _handler(otherwise: Handler) -> Handler:
    async def handle(request: Request, error: Exception) -> Response:
        if request.url.path.startswith(("/api/", "/internal/", "/.well-known/")):
            return await otherwise(request, error)
        return _page(request, error)

    return handle


def _page(request: Request, error: Exception) -> Response:
    parts: GatewayParts = request.app.state.parts
    visitor = visitor_of(request)
    status, detail = 422, "The form was not complete."
    if isinstance(error, HTTPException):
        status, detail = error.status_code, "There is nothing at this address."
    if isinstance(error, DomainError):
        status, detail = error.status, error.detail
    title = _TITLES.get(status, "That did not work")
    return render(request, "problem.html", visitor, parts.form_key, status=status, title=title, detail=detail)
