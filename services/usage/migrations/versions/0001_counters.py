"""Counters, breakdown, thresholds, alerts; the outbox of alerts.v1 and the consumer's bookkeeping."""

from alembic import op

from shared.db import rls
from shared.kafka import tables as kafka
from shared.outbox import tables as outbox

revision = "0001"
down_revision = None


def upgrade() -> None:
    _counters()
    _thresholds()
    op.execute(
        """
        CREATE TABLE sweep (
            day date PRIMARY KEY,
            tenants bigint NOT NULL,
            findings bigint NOT NULL,
            finished_at timestamptz NOT NULL
        )
        """
    )
    for table in ("tenant_usage", "usage_breakdown", "threshold_state", "alert"):
        rls.protect(table)
    rls.open_table("sweep")
    outbox.create()
    kafka.create()


def _counters() -> None:
    # No index on what changes, and room in each page: updates stay in place (HOT) however often a row is hit.
    op.execute(
        """
        CREATE TABLE tenant_usage (
            tenant_id uuid PRIMARY KEY,
            bytes bigint NOT NULL DEFAULT 0 CHECK (bytes >= 0),
            files bigint NOT NULL DEFAULT 0 CHECK (files >= 0),
            limit_bytes bigint CHECK (limit_bytes >= 0),
            plan text,
            entitlements_version bigint NOT NULL DEFAULT 0,
            position bigint NOT NULL DEFAULT 0,
            updated_at timestamptz NOT NULL,
            last_reset timestamptz NOT NULL
        ) WITH (fillfactor = 70)
        """
    )
    op.execute(
        """
        CREATE TABLE usage_breakdown (
            tenant_id uuid NOT NULL REFERENCES tenant_usage,
            file_type text NOT NULL,
            category text NOT NULL,
            file_count bigint NOT NULL CHECK (file_count >= 0),
            total_size bigint NOT NULL CHECK (total_size >= 0),
            last_updated timestamptz NOT NULL,
            PRIMARY KEY (tenant_id, file_type, category)
        ) WITH (fillfactor = 70)
        """
    )


def _thresholds() -> None:
    op.execute(
        """
        CREATE TABLE threshold_state (
            tenant_id uuid NOT NULL REFERENCES tenant_usage,
            metric text NOT NULL,
            percent int NOT NULL CHECK (percent BETWEEN 1 AND 100),
            armed int NOT NULL CHECK (armed > 0),
            reached boolean NOT NULL,
            PRIMARY KEY (tenant_id, metric, percent)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE alert (
            id uuid PRIMARY KEY,
            tenant_id uuid NOT NULL REFERENCES tenant_usage,
            metric text NOT NULL,
            percent int NOT NULL,
            period date NOT NULL,
            armed int NOT NULL,
            used bigint NOT NULL,
            "limit" bigint NOT NULL,
            speaks boolean NOT NULL,
            at timestamptz NOT NULL,
            cleared_at timestamptz,
            UNIQUE (tenant_id, metric, percent, period, armed)
        )
        """
    )
    op.execute("CREATE INDEX alert_newest ON alert (tenant_id, at, percent, id)")
