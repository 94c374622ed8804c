"""Every route of every service, called with another tenant's ids. The list comes from the OpenAPI documents, so a new
route is tested before anybody thinks of it; one whose parameters nobody has described here fails the build.
"""

import json
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from deploy.local.demo.client import Person
from tests.fixtures.stack import ROOT, Stack, person

DOCUMENT = json.loads((ROOT / "docs" / "openapi.json").read_text())
OPERATIONS = [
    (method.upper(), path)
    for path, item in sorted(DOCUMENT["paths"].items())
    for method in item
    if method in {"get", "post", "put", "patch", "delete", "head"}
]

# The same for everybody, or the caller's own by construction: nothing in the request names a tenant or its things.
OWN = {
    "/api/auth/signup",
    "/api/auth/login",
    "/api/auth/refresh",
    "/api/auth/logout",
    "/api/me",
    "/api/tenants",
    "/api/projects",
    "/api/plans",
    "/api/subscription",
    "/api/invoices",
    "/api/billing/details",
    "/api/credits",
    "/api/credits/transactions",
    "/api/credits/statement",
    "/api/credits/packs",
    "/api/credits/purchase",
    "/api/credits/traffic",
    "/api/subscription/change",
    "/api/user/storage-plan",
    "/api/user/upgrade-plan",
    "/api/subscription/cancel",
    "/api/subscription/check",
    "/api/subscription/resume",
    "/api/subscription/trial",
    "/api/credits/ad-views",
    "/api/credits/ad-views/verify",  # signed by the ad network, not by a person
    "/api/admin/credits/grants",  # administrators of the platform only
    "/api/storage/quota",
    "/api/storage/quota/check",
    "/api/storage/recalculate",
    "/api/storage/stats",
    "/api/storage/files",
    "/api/storage/files/delete",  # a result for each id; a stranger's is file_not_found in tests/services/upload/trash
    "/api/storage/files/move",  # and in tests/services/upload/files
    "/api/storage/folders",
    "/api/storage/folders/move",
    "/api/storage/ledger",
    "/api/storage/ledger/head",
    "/api/storage/links",
    "/api/storage/settings",
    "/api/storage/transactions",
    "/api/storage/trash",
    "/api/storage/scans",
    "/api/storage/upload",
    "/api/storage/uploads",
    "/api/storage/direct-uploads",
    "/api/storage/s3/params",
    "/api/storage/s3/multipart",
    "/api/storage/s3/sts",
    "/api/storage/content/{path}",  # a path in the caller's own tree
    "/api/images",
    "/api/images/quota",
    "/api/images/upload",
    "/api/user/storage-info",
    "/api/user/storage-cleanup",  # a plan's id is in the body: tested with the clean-up
    "/api/user/storage-cleanup/history",
    "/api/user/export-data",
    "/api/user/exports",
    "/api/storage/findings",  # administrators of the platform only
    "/api/usage/summary",
    "/api/usage/alerts",
    "/api/usage/at",
    "/api/usage/check",
    "/api/usage/disk",
    "/api/usage/disk/history",  # a project's id in the query: tested with the disk
    "/api/usage/limits",
    "/api/usage/thresholds",
    "/api/usage/proof",
    "/api/usage/storage-management",
    "/api/usage/projects",
    "/api/usage/history",
    "/api/usage/forecast",
    "/api/usage/users",
    "/api/notifications",
    "/api/notifications/settings",
    "/api/notifications/unsubscribe",  # signed by us, for whoever has the mail
    "/api/events",
    "/.well-known/jwks.json",
    "/api/payments/callback",  # signed by the provider, not by a person
    "/api/payments/stripe/webhook",
}
BODIES: dict[str, Any] = {
    "/api/payments/{team_slug}/initiate": {"plan": "pro", "method": "credit_card"},
    "/api/tenants/{slug}": {"name": "Mine"},
    "/api/tenants/{slug}/members": {"email": "eve@example.com"},
    "/api/tenants/{slug}/members/{user_id}": {"role": "admin"},
    "/api/storage/files/{file_id}": {"name": "mine.txt"},
    "/api/storage/files/{file_id}/copy": {},
    "/api/storage/files/{file_id}/links": {},
    "/api/storage/files/{file_id}/content": {},
    "/api/storage/direct-uploads/{upload_id}/parts": {"numbers": [1]},
    "/api/storage/s3/multipart/{upload_id}/complete": {"parts": []},
    "/api/invoices/{invoice_id}/pay": {"method": "credit_card"},
}
# Their signature is the permission: without it nobody learns whether there is anything.
SIGNED = {
    "/api/storage/signed/{tenant_id}/{file_id}": "?",
    "/api/storage/direct/{upload_id}": "?size=1&tenant=0198c0de-0000-7000-8000-000000000000&",
}
# What an upload in pieces wants to be told before it is looked for.
PIECES = "/api/storage/uploads/"
PIECE = {
    "Tus-Resumable": "1.0.0",
    "Content-Type": "application/offset+octet-stream",
    "Upload-Offset": "0",
    "X-HTTP-Method-Override": "PATCH",
}


async def things_of(victim: Person) -> dict[str, str]:
    """Real ids of everything a tenant can have, by the name of the path parameter."""
    made = (await victim.upload("private.txt", b"private", "documents")).expect(201, "upload")
    slug = victim.tenant["slug"]
    body = {"plan": "pro", "method": "credit_card"}
    payment = (await victim.call("POST", f"/api/payments/{slug}/initiate", body)).expect(201, "payment")
    view = (await victim.call("POST", "/api/credits/ad-views", {})).expect(201, "view")
    plan = (await victim.call("POST", "/api/user/storage-cleanup", {"trash": True, "dry_run": True})).expect(
        200, "plan"
    )
    export = (await victim.call("POST", "/api/user/export-data", {})).expect(202, "export")
    file = f"/api/storage/files/{made['file_id']}"
    link = (await victim.call("POST", f"{file}/links", {})).expect(201, "link")
    (await victim.call("PUT", "/api/storage/settings", {"versions_kept": 1})).expect(200, "settings")
    (await victim.call("PUT", f"{file}/content", {"newer": True})).expect(200, "newer bytes")
    versions = (await victim.call("GET", f"{file}/versions")).expect(200, "versions")
    return {
        "link_id": link["id"],
        "version_id": versions[0]["version_id"],
        "file_id": made["file_id"],
        "project_id": await _project(victim),
        "image_id": made["file_id"],
        "user_email": victim.email,
        "user_id": (await victim.get("/api/me"))["id"],
        "plan_id": plan["plan_id"],
        "export_id": export["export_id"],
        "tenant_id": victim.tenant["id"],
        "team_slug": slug,
        "slug": slug,
        "payment_id": payment["payment_id"],
        "invoice_id": str(uuid4()),  # a real one is asked for in tests/services/billing/invoices/test_api.py
        "ad_view_id": view["ad_view_id"],
        "file_path": made["file_path"],
        "begun_id": await _begun(victim),
        "upload_id": await _direct_upload(victim),
        "part_number": "1",
        "notification_id": str(uuid4()),
    }


async def _project(victim: Person) -> str:
    """One with traffic, which is counted a few seconds later."""
    project = str((await victim.call("POST", "/api/projects", {"name": "Plans"})).expect(201, "project")["id"])
    target = f"/api/storage/content/documents/plan.txt?project_id={project}"
    (await victim.call("PUT", target, {"a": "plan"})).expect(201, "a file of a project")
    return project


async def _direct_upload(victim: Person) -> str:
    body = {"file_name": "a.txt", "file_size": 1, "category": "documents"}
    return str((await victim.call("POST", "/api/storage/direct-uploads", body)).expect(201, "offer")["upload_id"])


async def _begun(victim: Person) -> str:
    """An upload of three bytes that have not come yet."""
    said = "filename YS50eHQ=,category ZG9jdW1lbnRz"
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "3", "Upload-Metadata": said}
    headers["Authorization"] = f"Bearer {victim.token}"
    async with victim._session.post(f"{victim.url}/api/storage/uploads", headers=headers) as answer:
        assert answer.status == 201
        return answer.headers["Location"].rsplit("/", 1)[1]


def unknown_of(things: dict[str, str]) -> dict[str, str]:
    """Ids of the same shape that nobody has."""
    return {name: value if value.isdigit() else _unknown(value) for name, value in things.items()}


def _unknown(value: str) -> str:
    return str(uuid4()) if len(value) == 36 else f"unknown-{uuid4().hex[:8]}"


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=str)
async def test_another_tenants_things_do_not_exist(
    stack: Stack, http: aiohttp.ClientSession, method: str, path: str
) -> None:
    parameters = re.findall(r"{(\w+)}", path)
    if path in OWN:
        return
    if path.startswith("/api/admin/"):
        stranger = await person(stack, http)
        answer = await stranger.call(method, path.format(**{name: str(uuid4()) for name in parameters}), {})
        assert (answer.status, answer.body["code"]) == (403, "admin_required")
        return
    if not parameters and path != "/api/storage/file":
        assert path in OWN, f"{method} {path} takes no id: say in OWN why it cannot reach another tenant"
        return
    victim, stranger = await person(stack, http), await person(stack, http)
    things = await things_of(victim)
    assert set(parameters) <= set(things), f"say in things_of what {parameters} of {path} may be"
    answers = []
    for ids in (things, unknown_of(things)):
        body = {"file_path": ids["file_path"]} if path == "/api/storage/file" else BODIES.get(path)
        target = path.format(**ids)
        if "signed" in path:
            target += f"?link={ids['link_id']}&expires=9999999999&sig=" + "A" * 43
        if path in SIGNED:
            target += SIGNED[path] + "expires=9999999999&sig=" + "A" * 43
        if path.endswith("/batch"):
            target += "?partNumbers=1"
        said = {}
        if path.startswith(PIECES):
            target, said = path.format(upload_id=ids["begun_id"]), PIECE
        answer = await stranger.call(method, target, body, **said)
        answers.append((answer.status, _without_trace(answer.body)))
    foreign, unknown = answers
    assert foreign[0] == (403 if path in SIGNED else 404), foreign
    assert foreign == unknown, "a stranger can tell that it exists"


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=str)
async def test_without_credentials_only_the_public_answers(
    stack: Stack, http: aiohttp.ClientSession, method: str, path: str
) -> None:
    public = {
        "/api/auth/signup",
        "/api/auth/login",
        "/api/auth/refresh",
        "/api/auth/logout",
        "/api/plans",
        "/api/payments/callback",
        "/api/credits/ad-views/verify",
        "/api/payments/stripe/webhook",
        "/.well-known/jwks.json",
        "/api/notifications/unsubscribe",
        *SIGNED,
    }
    if path in public:
        return
    nobody = Person(stack.url, http)
    target = re.sub(r"{\w+}", str(uuid4()), path)
    answer = await nobody.call(method, target, {} if method == "POST" else None)
    assert answer.status == 401, f"{method} {path} answered {answer.status}"
    if method != "HEAD":
        assert answer.body["code"] == "unauthorized"


async def test_services_refuse_whoever_brings_no_internal_token(stack: Stack, http: aiohttp.ClientSession) -> None:
    ada = await person(stack, http)
    for name in ("upload", "usage", "billing"):
        url = f"http://127.0.0.1:{stack.service(name)['port']}"
        for headers in ({}, {"Authorization": f"Bearer {ada.token}"}, {"stowage-internal": ada.token}):
            async with http.get(f"{url}/api/storage/quota", headers=headers) as answer:
                assert answer.status == 401
                assert (await answer.json())["code"] == "internal_token_required"


async def test_internal_routes_are_not_behind_the_door(stack: Stack, http: aiohttp.ClientSession) -> None:
    ada = await person(stack, http)
    for path in (
        f"/internal/entitlements/{ada.tenant['id']}",
        f"/internal/outbox/files.v1/{ada.tenant['id']}",
        f"/internal/ledger/{ada.tenant['id']}/proof",
        f"/internal/usage/{ada.tenant['id']}/wait",
        f"/internal/tenants/{ada.tenant['id']}",
        f"/internal/reconciliation/{ada.tenant['id']}",
        "/api/storage/../../internal/outbox/files.v1/x",
        "/api/storage/%2e%2e/%2e%2e/internal/x",
    ):
        answer = await ada.call("GET", path)
        assert answer.status in {400, 401, 404}, f"{path}: {answer.status}"


@pytest.mark.parametrize("service", ["gateway", "upload", "usage", "billing"])
async def test_the_app_role_sees_one_tenant_and_cannot_get_around_it(
    stack: Stack, http: aiohttp.ClientSession, service: str
) -> None:
    """Raw SQL with the service's own role, table by table, straight from the catalogue."""
    import asyncpg

    ada = await person(stack, http)
    await things_of(ada)
    tables = await stack.query(
        service,
        "SELECT c.relname, c.relispartition FROM pg_class c "
        "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' "
        "WHERE c.relkind IN ('r', 'p') AND c.relforcerowsecurity",
    )
    assert tables
    connection: Any = await asyncpg.connect(stack.dsn(service, "app"))
    try:
        for table, is_partition in tables:
            if is_partition:  # reached through its table, and no other way
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.fetchval(f"SELECT count(*) FROM {table}")
                continue
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0, f"{table} without a tenant"
            async with connection.transaction():
                await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(uuid4()))
                assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0, f"{table} as a stranger"
        for statement in (
            "SET ROLE postgres",
            "ALTER TABLE alembic_version DISABLE ROW LEVEL SECURITY",
            "CREATE ROLE x SUPERUSER",
        ):
            with pytest.raises(asyncpg.PostgresError):
                await connection.execute(statement)
    finally:
        await connection.close()


def _without_trace(body: Any) -> Any:
    """What is left when the trace and the asked-for id are taken out."""
    if isinstance(body, dict):
        return {key: value for key, value in body.items() if key != "trace_id"}
    return body


def test_the_document_is_there() -> None:
    assert len(OPERATIONS) > 25
    assert Path(ROOT / "docs" / "openapi.json").exists()
