"""What a plan's allow-list, or its largest file, does not let in, whichever way it comes."""

import random

import pytest

from tests.fixtures.postgres import query
from tests.services.upload.conftest import SECRET, Billing, Upload
from tests.services.upload.ways import Client, Order, Way

WAYS = (Client.form, Client.raw, Client.tus_at_once, Client.tus_in_pieces, Client.tus_joined, Client.direct)
SIZE = 100_000


async def attempt(service: Upload, way: Way, *allowed: str) -> tuple[int, dict[str, int]]:
    """The status, and what the account says then."""
    who = service.customer()
    await who.quota()
    await query(service.dsn.superuser, "UPDATE tenant_storage SET allowed_types = $1", list(allowed) or None)
    client = Client(service.http, [service.url], who.tenant, SECRET, random.Random(1), {})
    status = await way(client, Order(1, way, SIZE))
    status = 201 if status == 200 else status  # of a direct upload's completion
    account = await service.account(who.tenant)
    return status, {name: account[name] for name in ("used", "reserved", "files")}


@pytest.mark.parametrize("way", WAYS)
async def test_a_type_that_is_not_on_the_list(service: Upload, way: Way) -> None:
    status, account = await attempt(service, way, "image/*", "text/css")
    assert (status, account, service.blobs()) == (415, {"used": 0, "reserved": 0, "files": 0}, [])


@pytest.mark.parametrize("way", WAYS)
async def test_a_file_larger_than_the_plans_largest(service: Upload, billing: Billing, way: Way) -> None:
    billing.max_file = SIZE - 1
    status, account = await attempt(service, way)
    assert (status, account, service.blobs()) == (413, {"used": 0, "reserved": 0, "files": 0}, [])


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_on_it_and_not_too_large(service: Upload, billing: Billing, way: Way) -> None:
    billing.max_file = SIZE
    assert await attempt(service, way, "application/octet-stream", "text/plain") == (
        201,
        {"used": SIZE, "reserved": 0, "files": 1},
    )
