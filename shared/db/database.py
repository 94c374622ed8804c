"""Connections and transactions. A request or a batch of events is one transaction, opened and closed at the edge."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import UUID

import asyncpg
import orjson
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

# Every statement of the transaction sees the same moment.
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ"


class Connection(asyncpg.Connection):
    """A pooled connection that costs no round trip on release: every setting here is local to its transaction."""

    def get_reset_query(self) -> str:
        return ""


@dataclass
class Unit:
    """One transaction seen twice: as an ORM session and as the asyncpg connection under it."""

    session: AsyncSession
    connection: Any  # asyncpg.Connection of the same transaction
    _after: list[Callable[[], object]] = field(default_factory=list)

    def after_commit(self, call: Callable[[], object]) -> None:
        """Runs once the commit has succeeded, never before and not at all after a rollback."""
        self._after.append(call)


class Database:
    """A service's own database, reached with one role.

    The native pool serves the hot paths; the ORM's engine is made when the first unit asks for it.
    """

    def __init__(self, dsn: str, *, pool_size: int = 10, application_name: str = "stowage") -> None:
        self.dsn = dsn
        self._size = pool_size
        self._name = application_name
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._aside: asyncpg.Pool[asyncpg.Record] | None = None
        self._engine: AsyncEngine | None = None

    async def start(self) -> None:
        self._pool = await self._create_pool(1)
        self._aside = await self._create_pool(0)

    async def stop(self) -> None:
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None
        pools, self._pool, self._aside = (self._pool, self._aside), None, None
        for pool in pools:
            if pool is not None:
                await pool.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def ping(self) -> None:
        """Raises when the database does not answer."""
        async with self.acquire() as connection:
            await connection.execute("SELECT 1")

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        """A connection outside any transaction: each statement commits by itself, and no tenant is set."""
        if self._pool is None:
            raise RuntimeError("the database is not started")
        async with self._pool.acquire() as connection:
            yield connection

    @asynccontextmanager
    async def set_aside(self) -> AsyncIterator[Any]:
        """As `acquire`, for one that is kept while the work is done on others. Those come from a pool of their own: as
        many keepers as there are connections would wait for ever for one to work with.
        """
        if self._aside is None:
            raise RuntimeError("the database is not started")
        async with self._aside.acquire() as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self, tenant: UUID | None = None) -> AsyncIterator[Any]:
        """One transaction on a native connection: commits on exit, rolls back on an error."""
        async with self.acquire() as connection, transaction_on(connection, tenant):
            yield connection

    @asynccontextmanager
    async def snapshot(self, tenant: UUID | None = None) -> AsyncIterator[Any]:
        """As `transaction`, but all its statements see one moment, and none may write."""
        async with self.acquire() as connection, transaction_on(connection, tenant, begin=f"{SNAPSHOT} READ ONLY"):
            yield connection

    @asynccontextmanager
    async def unit(self, tenant: UUID | None = None) -> AsyncIterator[Unit]:
        """One transaction with an ORM session: flushed and committed on exit, rolled back on an error."""
        if self._engine is None:
            self._engine = _create_engine(self.dsn, self._size, self._name)
        async with self._engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            async with AsyncSession(bind=connection, expire_on_commit=False, autoflush=True) as session:
                unit = Unit(session, driver)
                async with transaction_on(driver, tenant):
                    yield unit
                    await session.flush()
        for call in unit._after:  # noqa: SLF001 - the unit is this module's own
            call()

    async def _create_pool(self, least: int) -> "asyncpg.Pool[asyncpg.Record]":
        return await asyncpg.create_pool(
            self.dsn,
            min_size=least,
            max_size=self._size,
            connection_class=Connection,
            init=_set_codecs,
            command_timeout=60,
            server_settings={"application_name": self._name, "jit": "off"},
        )


@asynccontextmanager
async def savepoint(connection: Any) -> AsyncIterator[None]:
    """Inside a transaction: what fails here is undone here, and the transaction goes on."""
    await connection.execute("SAVEPOINT here")
    try:
        yield
    except BaseException:
        await connection.execute("ROLLBACK TO SAVEPOINT here")
        raise
    await connection.execute("RELEASE SAVEPOINT here")


@asynccontextmanager
async def transaction_on(connection: Any, tenant: UUID | None = None, *, begin: str = "BEGIN") -> AsyncIterator[None]:
    """One transaction on a connection that is kept for several."""
    # BEGIN and the tenant travel together: a round trip costs more than the policy it feeds.
    scope = f"; SELECT set_config('app.tenant_id', '{UUID(str(tenant))}', true)" if tenant is not None else ""
    try:
        await connection.execute(f"{begin}{scope}")
        yield
        await connection.execute("COMMIT")
    except BaseException:
        # A connection that broke or was cancelled mid-statement cannot be trusted to have rolled back.
        if not connection.is_closed():
            try:
                await connection.execute("ROLLBACK", timeout=5)
            except BaseException:  # noqa: BLE001 - whatever it was, the first error is the one to tell
                connection.terminate()
        raise


def _create_engine(dsn: str, pool_size: int, name: str) -> AsyncEngine:
    # AUTOCOMMIT keeps SQLAlchemy from opening transactions of its own: this module sends BEGIN and COMMIT.
    return create_async_engine(
        dsn.replace("postgresql://", "postgresql+asyncpg://", 1),
        pool_size=pool_size,
        max_overflow=0,
        isolation_level="AUTOCOMMIT",
        connect_args={"server_settings": {"application_name": name, "jit": "off"}},
    )


async def _set_codecs(connection: Any) -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=lambda value: orjson.dumps(value).decode(), decoder=orjson.loads
        )
