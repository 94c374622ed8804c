"""Templates, static files, and the headers every page carries."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.gateway.identity.visitors import Visitor, form_token
from services.gateway.pages.rules import message_of

ROOT = Path(__file__).resolve().parents[1]
STATIC = ROOT / "static"

# Nothing from elsewhere, no script or style inside the page. A payment page is reached by a link, not by a form.
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": _CSP,
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
}


@cache
def asset(name: str) -> str:
    """The address changes with the content, so browsers may keep it for ever."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(ROOT / "pages" / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["asset"] = asset
    return environment


def render(
    request: Request, template: str, visitor: Visitor, key: bytes, *, status: int = 200, here: str = "", **values: Any
) -> HTMLResponse:
    """A page for this visitor, with a form token of theirs and the message its address asks for."""
    memberships = visitor.account.memberships if visitor.account is not None else ()
    context = {
        "visitor": visitor,
        "membership": memberships[0] if memberships else None,
        "csrf": form_token(key, visitor),
        "message": message_of(request.query_params.get("notice")),
        "here": here,
        **values,
    }
    return HTMLResponse(_templates().get_template(template).render(context), status, headers=HEADERS)
