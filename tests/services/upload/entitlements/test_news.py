"""What is known of a plan costs no query, and is forgotten as it changes: real service, real database."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from services.upload.entitlements import news
from services.upload.entitlements.service import EntitlementService, upsert
from services.upload.entitlements.terms import Terms
from shared.db import Database, database
from shared.events import EntitlementsChanged
from tests.fixtures.postgres import query
from tests.services.upload.conftest import Upload
from tests.shared.kafka.samples import UNLIMITED

TERMS = "SELECT plan, max_file_bytes"
_HEARING = "FROM pg_stat_activity WHERE application_name = 'upload_terms' AND datname = current_database()"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement on the connections that services open from now on."""
    statements: list[str] = []
    ready = database._set_codecs

    async def prepare(connection: Any) -> None:
        await ready(connection)
        connection.add_query_logger(lambda record: statements.append(record.query.strip()))

    monkeypatch.setattr(database, "_set_codecs", prepare)
    return statements


def entitlements_of(service: Upload) -> EntitlementService:
    found: EntitlementService = service.app.state.services.accounts._entitlements
    return found


async def listening(service: Upload, *, yes: bool = True) -> None:
    async with asyncio.timeout(10):
        while entitlements_of(service).news.listening is not yes:
            await asyncio.sleep(0.01)


async def another_plan(service: Upload, tenant: UUID, version: int, **changes: Any) -> None:
    """As the worker writes it."""
    told = UNLIMITED.model_copy(update=changes)
    event = EntitlementsChanged(tenant_id=tenant, version=version, plan="pro", plan_version=1, entitlements=told)
    async with Database(service.dsn.worker) as worker, worker.transaction() as connection:
        await upsert(connection, [event])


async def cut(service: Upload) -> None:
    assert await query(service.dsn.superuser, f"SELECT pg_terminate_backend(pid) {_HEARING}"), "nobody listens"


async def until(service: Upload, tenant: UUID, holds: Callable[[Terms], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds(await entitlements_of(service).terms(tenant)):
            await asyncio.sleep(0.01)


async def test_a_hundred_uploads_ask_for_no_terms(said: list[str], service: Upload) -> None:
    ada = service.customer()
    await listening(service)
    assert (await ada.upload(b"first"))[0] == 201
    assert [statement for statement in said if statement.startswith(TERMS)], "the first one asks"
    said.clear()
    await asyncio.sleep(1.2)  # longer than what is not heard of is remembered
    for n in range(100):
        assert (await ada.upload(b"more", name=f"{n}.txt"))[0] == 201
    assert len(said) >= 100, "they are written down"
    assert [statement for statement in said if statement.startswith(TERMS)] == []


async def test_a_change_is_heard_of_whoever_makes_it(said: list[str], service: Upload) -> None:
    ada, bob = service.customer(), service.customer()
    await listening(service)
    for customer in (ada, bob):
        await customer.upload(b"first")
    known = entitlements_of(service)
    await another_plan(service, ada.tenant, 2, trash_days=30)
    await until(service, ada.tenant, lambda terms: terms.trash_days == 30 and terms.plan == "pro")
    await query(service.dsn.superuser, "UPDATE tenant_storage SET versions_kept = 3 WHERE tenant_id = $1", ada.tenant)
    await until(service, ada.tenant, lambda terms: terms.versions_kept == 3)
    said.clear()
    assert (await known.terms(bob.tenant)).plan == "free"
    assert said == [], "another's plan is none of Bob's"


async def test_who_hears_nothing_asks(service: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks, and a change comes before there is another."""
    ada = service.customer()
    await listening(service)
    await ada.upload(b"first")
    monkeypatch.setattr(news, "PAUSE", 3.0)
    await cut(service)
    await listening(service, yes=False)
    await another_plan(service, ada.tenant, 2, trash_days=7)
    async with asyncio.timeout(2):  # before it listens again
        await until(service, ada.tenant, lambda terms: terms.trash_days == 7)
    assert not entitlements_of(service).news.listening
    await another_plan(service, ada.tenant, 3, trash_days=8)
    await listening(service)
    assert (await entitlements_of(service).terms(ada.tenant)).trash_days == 8, "what was missed is not repeated"


async def test_what_was_read_before_the_news_is_not_remembered(
    service: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer of the database is on its way when the change is committed and heard of."""
    ada = service.customer()
    await listening(service)
    await ada.upload(b"first")
    known, reach = entitlements_of(service), asyncio.Event()
    transaction = known._database.transaction

    def overtaken(tenant: UUID | None = None) -> Any:
        known._forget(ada.tenant)
        reach.set()
        return transaction(tenant)

    known._forget(ada.tenant)
    monkeypatch.setattr(known._database, "transaction", overtaken)
    await known.terms(ada.tenant)
    assert reach.is_set()
    assert ada.tenant not in known._terms


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news, "BEAT", 0.3)


@pytest.mark.usefixtures("soon")
async def test_a_silent_connection_is_not_trusted(service: Upload) -> None:
    """Cut off without a word: the next look finds out."""
    await listening(service)
    (row,) = await query(service.dsn.superuser, f"SELECT pid {_HEARING}")
    os.kill(row["pid"], signal.SIGSTOP)
    try:
        await listening(service, yes=False)
    finally:
        os.kill(row["pid"], signal.SIGCONT)
    await listening(service)
