"""The tables written down twice, by hand in the migration and as models, are the same."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, Table
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import SQLModel

from services.usage.counters.models import TenantUsage, UsageBreakdown
from services.usage.disk.models import DiskRun, DiskUsage
from services.usage.history.models import (
    StorageDay,
    StorageHour,
    StorageMinute,
    TrafficDay,
    TrafficHour,
    TrafficMinute,
)
from services.usage.management.models import CleanupDay, StorageManagement
from services.usage.metering.models import TenantMonth
from services.usage.rebuild.models import CounterAdjustment, FoldCheckpoint, Rebuild, RebuildWanted
from services.usage.tenants.models import IsolationGrant, Tenant
from services.usage.thresholds.models import Alert, ThresholdChoice, ThresholdState
from services.usage.traffic.models import ProjectStorage, ProjectUsage
from services.usage.trends.models import UsageTotal
from services.usage.users.models import UserUsage
from tests.fixtures.postgres import ServiceDatabase

MODELS: list[type[SQLModel]] = [
    CounterAdjustment,
    FoldCheckpoint,
    Rebuild,
    RebuildWanted,
    TenantUsage,
    UsageBreakdown,
    ThresholdState,
    ThresholdChoice,
    Alert,
    DiskUsage,
    DiskRun,
    Tenant,
    IsolationGrant,
    StorageManagement,
    CleanupDay,
    ProjectStorage,
    ProjectUsage,
    StorageMinute,
    StorageHour,
    StorageDay,
    TrafficMinute,
    TrafficHour,
    TrafficDay,
    UsageTotal,
    TenantMonth,
    UserUsage,
]


async def test_models_are_the_migrated_tables(usage_db: ServiceDatabase) -> None:
    ours = MetaData()
    for model in MODELS:
        table: Table = model.__table__  # type: ignore[attr-defined]
        table.to_metadata(ours)

    def differences(connection: Connection) -> list[object]:
        names = set(ours.tables)
        options = {"include_name": lambda name, kind, _parents: kind != "table" or name in names}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), ours))

    engine = create_async_engine(usage_db.superuser.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()
