"""What ledgers sum to, over HTTP, for sister services only."""

import csv
import io
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.security import Principal, sign
from tests.fixtures.postgres import query
from tests.services.upload.conftest import SECRET, Upload

_ADJUST = """
    INSERT INTO storage_transaction (tenant_id, seq, id, action, type, file_path, file_name, file_size, delta,
        delta_files, content_type, file_type, category, metadata, occurred_at, body, prev_hash, hash)
    VALUES ($1, 2, gen_random_uuid(), 'adjust', 'storage.adjusted', '', '', 0, 7, 2, '', 'other', 'documents', '{}',
        now(), '{}', '', '')
"""
SERVICE = Principal(kind="service")


async def ask(service: Upload, body: Any, who: Principal = SERVICE) -> tuple[int, str]:
    headers = {"stowage-internal": sign(who, secret=SECRET, audience="upload", issuer="usage")}
    async with service.http.post(f"{service.url}/internal/ledger/folds", json=body, headers=headers) as answer:
        return answer.status, await answer.text()


async def folded(service: Upload, *stretches: tuple[UUID, int, int]) -> dict[str, tuple[int, int, int]]:
    """Last entry, bytes and files of each tenant; of every ledger when no stretch is named."""
    asked = [[str(tenant), after, until] for tenant, after, until in stretches] or None
    status, text = await ask(service, {"stretches": asked})
    assert status == 200, text
    sums: dict[str, tuple[int, int, int]] = {}
    for tenant, seq, _, _, _, _, size, files, *_ in csv.reader(io.StringIO(text)):
        last, held, count = sums.get(tenant, (0, 0, 0))
        sums[tenant] = (max(last, int(seq)), held + int(size), count + int(files))
    return sums


async def test_all_of_all_and_stretches_of_some(service: Upload) -> None:
    ada, bob = service.customer(), service.customer()
    for who, sizes in ((ada, (10, 20, 30)), (bob, (5,))):
        for size in sizes:
            assert (await who.upload(b"x" * size))[0] == 201
    assert await folded(service) == {str(ada.tenant): (3, 60, 3), str(bob.tenant): (1, 5, 1)}
    some = await folded(service, (ada.tenant, 1, 2), (bob.tenant, 1, 9), (uuid4(), 0, 9))
    assert some == {str(ada.tenant): (2, 20, 1)}


async def test_an_adjustment_counts_by_what_it_says(service: Upload) -> None:
    ada = service.customer()
    assert (await ada.upload(b"x" * 10))[0] == 201
    await query(service.dsn.superuser, _ADJUST, ada.tenant)
    assert await folded(service) == {str(ada.tenant): (2, 17, 3)}


@pytest.mark.parametrize("stretches", [[], [["x", 0, 1]], [[str(uuid4()), 0]], "all", [[str(uuid4()), 0, 2**70]]])
async def test_what_is_no_stretch(service: Upload, stretches: Any) -> None:
    assert (await ask(service, {"stretches": stretches}))[0] == 422


async def test_nobody_but_services(service: Upload) -> None:
    for who in (Principal(kind="user", user_id=uuid4(), tenant_id=uuid4(), role="owner"), Principal(kind="anonymous")):
        status, text = await ask(service, {"stretches": None}, who)
        assert status in (401, 403, 404)
        assert "," not in text or "code" in text
