"""HTTP as every service speaks it."""

from shared.http.app import UNLIMITED_BODY, create_app
from shared.http.bodies import Body, ClientGone, RequestTimeout
from shared.http.client import ServiceClient
from shared.http.dependencies import (
    AdminOnly,
    CurrentPrincipal,
    CurrentTenant,
    CurrentUser,
    ServiceOnly,
    member_of_tenant,
)
from shared.http.large import DRAIN, Arrived, Drain, Take
from shared.http.outlet import OUTLET, Outlet
from shared.http.owner import Owner, owner_headers, owner_of
from shared.http.paging import Page, PageRequest, Paging, decode_cursor, encode_cursor, read_position
from shared.http.problems import Problem, problem_response
from shared.http.server import serve
from shared.http.shortcuts import Shortcut
from shared.http.stopping import Stopping, stopping_of, unless

__all__ = [
    "DRAIN",
    "OUTLET",
    "UNLIMITED_BODY",
    "AdminOnly",
    "Arrived",
    "Body",
    "ClientGone",
    "CurrentPrincipal",
    "CurrentTenant",
    "CurrentUser",
    "Drain",
    "Outlet",
    "Owner",
    "Page",
    "PageRequest",
    "Paging",
    "Problem",
    "RequestTimeout",
    "ServiceClient",
    "ServiceOnly",
    "Shortcut",
    "Stopping",
    "Take",
    "create_app",
    "decode_cursor",
    "encode_cursor",
    "member_of_tenant",
    "owner_headers",
    "owner_of",
    "problem_response",
    "read_position",
    "serve",
    "stopping_of",
    "unless",
]
