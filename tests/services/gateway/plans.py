"""What billing says a tenant may have, and what was told of it."""

import json
from typing import Any

import orjson

from shared.events import Entitlements
from tests.fixtures.postgres import query
from tests.services.gateway.harness import Gateway, Person, json_answer

NOTHING_LIMITED = Entitlements(
    storage_bytes=None,
    traffic_bytes_month=None,
    images_month=None,
    teams=None,
    members=None,
    projects=None,
    cpu=None,
    memory_bytes=None,
    custom_domains=False,
    max_file_bytes=None,
)
FREE = {"teams": 1, "members": 1, "projects": 2}


def allow(gateway: Gateway, person: Person, **limits: int | None) -> None:
    """As billing answers who asks; what is not named is unlimited."""
    granted = NOTHING_LIMITED.model_copy(update=limits).model_dump()
    body = {"version": 1, "plan": "free", "plan_version": 1, "entitlements": granted}
    gateway.stub.answers[entitlements_of(person)] = json_answer(200, orjson.dumps(body))


def entitlements_of(person: Person) -> str:
    return f"/internal/entitlements/{person.tenant['id']}"


async def told_of(gateway: Gateway, tenant: str) -> list[dict[str, Any]]:
    """Bodies of its events with their types, in order."""
    sql = "SELECT type, body FROM outbox_event WHERE topic = 'tenants.v1' AND tenant_id = $1::text::uuid ORDER BY seq"
    rows = await query(gateway.database.superuser, sql, tenant)
    return [{"type": row["type"], **json.loads(row["body"])} for row in rows]


async def as_(gateway: Gateway, person: Person, method: str, path: str, body: Any = None, **headers: str) -> Any:
    return await gateway.call(method, path, json=body, headers={**person.bearer, **headers})
