"""HTTP as every service speaks it."""

from shared.http.app import UNLIMITED_BODY, create_app
from shared.http.bodies import ClientGone, RequestTimeout, read_body
from shared.http.client import ServiceClient
from shared.http.dependencies import (
    AdminOnly,
    CurrentPrincipal,
    CurrentTenant,
    CurrentUser,
    ServiceOnly,
    member_of_tenant,
)
from shared.http.paging import Page, PageRequest, Paging, decode_cursor, encode_cursor, read_position
from shared.http.problems import Problem, problem_response
from shared.http.server import serve
from shared.http.shortcuts import Shortcut
from shared.http.stopping import Stopping, stopping_of, unless

__all__ = [
    "UNLIMITED_BODY",
    "AdminOnly",
    "ClientGone",
    "CurrentPrincipal",
    "CurrentTenant",
    "CurrentUser",
    "Page",
    "PageRequest",
    "Paging",
    "Problem",
    "RequestTimeout",
    "ServiceClient",
    "ServiceOnly",
    "Shortcut",
    "Stopping",
    "create_app",
    "decode_cursor",
    "encode_cursor",
    "member_of_tenant",
    "problem_response",
    "read_body",
    "read_position",
    "serve",
    "stopping_of",
    "unless",
]
