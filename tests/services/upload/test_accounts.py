"""One tenant's account against a model: whatever comes, in batches, in any order."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from services.upload.quota.changes import Change
from services.upload.quota.rules import Command, Delete, Release, Reserve, Settle
from services.upload.quota.writer import AccountWriter
from shared.db import Database
from tests.fixtures.postgres import PostgresServer, ServiceDatabase, query
from tests.shared.kafka.samples import stored

LIMIT = 100  # bytes
_CREATE = "INSERT INTO tenant_storage (tenant_id, plan, limit_bytes, entitlements_version) VALUES ($1, 'free', $2, 1)"


def change_of(tenant: UUID, command: Command) -> Change:
    if not isinstance(command, Settle):
        return Change(command)
    file = stored(tenant, command.size).model_copy(update={"file_id": command.id, "path": f"documents/{command.id}"})
    return Change(command, file=file)


@dataclass
class Model:
    """What an accountant would write down: every reservation and every file, nothing added up in advance."""

    limit: int = LIMIT
    held: dict[UUID, int] = field(default_factory=dict)
    files: dict[UUID, int] = field(default_factory=dict)

    def batch(self, commands: list[Command], stale: set[UUID]) -> list[bool]:
        """`stale`: reservations whose time is over. They make room when something would be refused."""
        answers, after = self._judge(commands, set())
        if not all(ok for ok, command in zip(answers, commands, strict=True) if not isinstance(command, Delete)):
            answers, after = self._judge(commands, stale - {command.id for command in commands})
        self.held, self.files = after.held, after.files
        return answers

    def _judge(self, commands: list[Command], dropped: set[UUID]) -> tuple[list[bool], "Model"]:
        after = Model(self.limit, {k: v for k, v in self.held.items() if k not in dropped}, dict(self.files))
        return [after.one(command) for command in commands], after

    def one(self, command: Command) -> bool:
        match command:
            case Delete(id=id_):
                return self.files.pop(id_, None) is not None
            case Release(id=id_):
                self.held.pop(id_, None)
                return True
            case Settle(id=id_) if id_ in self.files:
                return True
        before = self.held.get(command.id, 0)
        assert isinstance(command, Reserve | Settle)
        size = command.size
        total = sum(self.held.values()) + sum(self.files.values())
        if size > before and total - before + size > self.limit:
            return False
        if isinstance(command, Settle):
            self.held.pop(command.id, None)
            self.files[command.id] = size
        else:
            self.held[command.id] = max(size, before)
        return True


class AccountMachine(RuleBasedStateMachine):
    """The real writer on a real database beside the model."""

    server: ClassVar[ServiceDatabase]
    runner: ClassVar[asyncio.Runner]

    def __init__(self) -> None:
        super().__init__()
        self.tenant, self.model = uuid4(), Model()
        self.stale: set[UUID] = set()
        self.deleted: set[UUID] = set()  # an id is one file's for ever

    @initialize()
    def open(self) -> None:
        self._sql(_CREATE, self.tenant, LIMIT)

    @rule(data=st.data(), number=st.integers(1, 5))
    def batch(self, data: st.DataObject, number: int) -> None:
        commands = [data.draw(self._command()) for _ in range(number)]
        settled = [command.id for command in commands if isinstance(command, Settle | Delete)]
        if len(settled) != len(set(settled)):
            return
        expected = self.model.batch(commands, self.stale)
        self.deleted |= {command.id for command in commands if isinstance(command, Delete)}
        renewed = {command.id for command, ok in zip(commands, expected, strict=True) if ok}
        self.stale = {id_ for id_ in self.stale if id_ in self.model.held} - renewed
        assert self.runner.run(self._submit(commands)) == expected

    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        if self.model.held:
            gone = data.draw(st.sampled_from(list(self.model.held)))
            self._sql("UPDATE reservation SET expires_at = now() - interval '1 s' WHERE id = $1", gone)
            self.stale.add(gone)

    @rule(limit=st.integers(0, 2 * LIMIT))
    def change_plan(self, limit: int) -> None:
        self.model.limit = limit
        self._sql("UPDATE tenant_storage SET limit_bytes = $2 WHERE tenant_id = $1", self.tenant, limit)

    @invariant()
    def books_agree(self) -> None:
        account = self._sql("SELECT used, reserved, files, seq FROM tenant_storage WHERE tenant_id = $1", self.tenant)[
            0
        ]
        model = self.model
        assert account["used"] == sum(model.files.values())
        assert account["reserved"] == sum(model.held.values())
        assert account["files"] == len(model.files)
        reservations = self._sql("SELECT id, size FROM reservation WHERE tenant_id = $1", self.tenant)
        assert {row["id"]: row["size"] for row in reservations} == model.held
        entries = self._sql("SELECT seq, delta FROM storage_transaction WHERE tenant_id = $1 ORDER BY seq", self.tenant)
        assert [row["seq"] for row in entries] == list(range(1, account["seq"] + 1))
        assert sum(row["delta"] for row in entries) == account["used"]

    def _command(self) -> st.SearchStrategy[Command]:
        fresh = uuid4()
        uploads = [*(id_ for id_ in self.model.held if id_ not in self.deleted), fresh]
        sizes = st.integers(0, LIMIT // 2)
        options: list[st.SearchStrategy[Command]] = [
            st.builds(Reserve, st.just(fresh), sizes),
            st.builds(Settle, st.sampled_from([*uploads, *self.model.files]), sizes),
            st.builds(Release, st.sampled_from(uploads)),
            st.builds(Delete, st.sampled_from([*self.model.files, fresh]), st.just(0)),
        ]
        return st.one_of(options)

    async def _submit(self, commands: list[Command]) -> list[bool]:
        async with Database(self.server.app) as database:
            writer = AccountWriter(database, on_commit=lambda: None)
            changes = [change_of(self.tenant, command) for command in commands]
            results = await asyncio.gather(*(writer.submit(self.tenant, change) for change in changes))
        return [result.ok for result in results]

    def _sql(self, sql: str, *values: object) -> list[Any]:
        return self.runner.run(query(self.server.superuser, sql, *values))


def test_the_books_agree_with_a_model(pg: PostgresServer) -> None:
    AccountMachine.server = pg.create("upload")
    with asyncio.Runner() as AccountMachine.runner:
        run_state_machine_as_test(
            AccountMachine,
            settings=settings(
                max_examples=25,
                stateful_step_count=20,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


@pytest.fixture
async def writer(pg: PostgresServer) -> AsyncIterator[tuple[AccountWriter, UUID]]:
    """For one tenant that has an account."""
    created, tenant = pg.create("upload"), uuid4()
    await query(created.superuser, _CREATE, tenant, LIMIT)
    async with Database(created.app) as database:
        yield AccountWriter(database, on_commit=lambda: None), tenant


@pytest.mark.parametrize(
    "poison",
    [{"metadata": {"a": "\u0000"}}, {"idempotency_key": "\ud800"}, {"idempotency_key": "\u0000"}, {"traceparent": 7}],
    ids=["NUL in JSON", "half a character", "NUL in a key", "no text"],
)
async def test_what_cannot_be_written_hurts_nobody_else(
    writer: tuple[AccountWriter, UUID], poison: dict[str, Any]
) -> None:
    accounts, tenant = writer
    changes = [change_of(tenant, Settle(uuid4(), 1)) for _ in range(5)]
    for name, value in poison.items():
        setattr(changes[2], name, value)
    answers = await asyncio.gather(*(accounts.submit(tenant, change) for change in changes), return_exceptions=True)
    assert isinstance(answers[2], Exception)
    assert [answer.seq for answer in answers if not isinstance(answer, BaseException)] == [1, 2, 3, 4]
