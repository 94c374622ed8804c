"""Accounts, reservations, files and the ledger."""

from alembic import op

from shared.db.rls import append_only, open_table, protect
from shared.kafka import tables as kafka_tables
from shared.outbox import tables as outbox_tables

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE tenant_storage (
            tenant_id uuid PRIMARY KEY,
            plan text NOT NULL,
            limit_bytes bigint CHECK (limit_bytes >= 0),
            max_file_bytes bigint,
            entitlements_version bigint NOT NULL,
            used bigint NOT NULL DEFAULT 0 CHECK (used >= 0),
            reserved bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
            files bigint NOT NULL DEFAULT 0 CHECK (files >= 0),
            seq bigint NOT NULL DEFAULT 0,
            head_hash bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
            created_at timestamptz NOT NULL DEFAULT now()
        ) WITH (fillfactor = 50)
        """
    )
    op.execute(
        """
        CREATE TABLE reservation (
            id uuid PRIMARY KEY,
            tenant_id uuid NOT NULL REFERENCES tenant_storage,
            size bigint NOT NULL CHECK (size >= 0),
            expires_at timestamptz NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    op.execute("CREATE INDEX reservation_expiry ON reservation (tenant_id, expires_at)")
    op.execute(
        """
        CREATE TABLE stored_file (
            id uuid PRIMARY KEY,
            tenant_id uuid NOT NULL REFERENCES tenant_storage,
            path text NOT NULL,
            name text NOT NULL,
            size bigint NOT NULL CHECK (size >= 0),
            content_type text NOT NULL,
            file_type text NOT NULL,
            category text NOT NULL,
            subcategory text,
            entity_id text,
            project_id uuid,
            sha256 text NOT NULL,
            uploaded_by uuid,
            created_at timestamptz NOT NULL,
            metadata jsonb NOT NULL DEFAULT '{}',
            idempotency_key text,
            UNIQUE (tenant_id, path),
            UNIQUE (tenant_id, idempotency_key)
        )
        """
    )
    op.execute("CREATE INDEX stored_file_newest ON stored_file (tenant_id, created_at DESC, id DESC)")
    op.execute(
        """
        CREATE TABLE storage_transaction (
            tenant_id uuid NOT NULL,
            seq bigint NOT NULL CHECK (seq > 0),
            id uuid NOT NULL UNIQUE,
            action text NOT NULL CHECK (action IN ('upload', 'delete', 'replace')),
            type text NOT NULL,
            file_id uuid NOT NULL,
            file_path text NOT NULL,
            file_name text NOT NULL,
            file_size bigint NOT NULL,
            delta bigint NOT NULL,
            content_type text NOT NULL,
            file_type text NOT NULL,
            category text NOT NULL,
            uploaded_by uuid,
            metadata jsonb NOT NULL,
            occurred_at timestamptz NOT NULL,
            body text NOT NULL,
            traceparent text,
            prev_hash bytea NOT NULL,
            hash bytea NOT NULL,
            PRIMARY KEY (tenant_id, seq)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE blob_garbage (
            tenant_id uuid NOT NULL,
            path text PRIMARY KEY,
            size bigint NOT NULL,
            at timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    for table in ("tenant_storage", "reservation", "stored_file", "storage_transaction", "blob_garbage"):
        protect(table)
    append_only("storage_transaction")
    outbox_tables.create(own_events=False)
    kafka_tables.create()
    open_table("alembic_version")


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped")
