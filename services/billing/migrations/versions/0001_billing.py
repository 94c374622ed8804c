"""Plans, subscriptions, payments and the inbox of callbacks."""

from alembic import op

from shared.db.rls import append_only, open_table, protect
from shared.http import idempotency
from shared.kafka import tables as kafka_tables
from shared.outbox import tables as outbox_tables

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE plan (
            code text NOT NULL,
            version int NOT NULL,
            name text NOT NULL,
            digest text NOT NULL,
            definition jsonb NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (code, version)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE subscription (
            tenant_id uuid PRIMARY KEY,
            plan text NOT NULL,
            plan_version int NOT NULL,
            status text NOT NULL CHECK (status IN ('active')),
            version bigint NOT NULL,
            entitlements jsonb NOT NULL,
            started_at timestamptz NOT NULL,
            period_end timestamptz,
            FOREIGN KEY (plan, plan_version) REFERENCES plan
        )
        """
    )
    op.execute(
        """
        CREATE TABLE payment (
            id uuid PRIMARY KEY,
            tenant_id uuid NOT NULL,
            team text NOT NULL,
            external_id text CONSTRAINT payment_external UNIQUE,
            amount bigint NOT NULL CHECK (amount > 0),
            currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
            method text NOT NULL CHECK (method IN ('mobile_money', 'credit_card')),
            status text NOT NULL CHECK (status IN ('pending', 'processing', 'completed', 'failed', 'cancelled')),
            plan text NOT NULL,
            plan_version int NOT NULL,
            return_url text NOT NULL,
            payment_url text,
            qr_code text,
            transaction_id text,
            metadata jsonb NOT NULL DEFAULT '{}',
            created_at timestamptz NOT NULL,
            completed_at timestamptz,
            next_check_at timestamptz NOT NULL,
            checks int NOT NULL DEFAULT 0,
            FOREIGN KEY (plan, plan_version) REFERENCES plan
        )
        """
    )
    # Two upgrades at once: the second finds the first.
    op.execute("CREATE UNIQUE INDEX payment_open ON payment (tenant_id) WHERE status IN ('pending', 'processing')")
    op.execute("CREATE INDEX payment_newest ON payment (tenant_id, created_at DESC, id DESC)")
    op.execute("CREATE INDEX payment_due ON payment (next_check_at) WHERE status IN ('pending', 'processing')")
    op.execute(
        """
        CREATE TABLE payment_transition (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            tenant_id uuid NOT NULL,
            payment_id uuid NOT NULL REFERENCES payment,
            from_status text NOT NULL,
            to_status text NOT NULL,
            source text NOT NULL,
            at timestamptz NOT NULL
        )
        """
    )
    op.execute(
        """
        CREATE TABLE payment_callback (
            id uuid PRIMARY KEY,
            provider text NOT NULL,
            event_id text NOT NULL,
            authentic boolean NOT NULL,
            body bytea NOT NULL CHECK (length(body) <= 65536),
            received_at timestamptz NOT NULL,
            deliveries int NOT NULL DEFAULT 1,
            verdict text NOT NULL CHECK (verdict IN ('received', 'accepted', 'ignored', 'rejected')),
            reason text,
            payment_id uuid,
            traceparent text,
            processed_at timestamptz
        )
        """
    )
    op.execute("CREATE UNIQUE INDEX payment_callback_event ON payment_callback (provider, event_id) WHERE authentic")
    op.execute("CREATE INDEX payment_callback_waiting ON payment_callback (received_at, id) WHERE verdict = 'received'")
    op.execute("CREATE INDEX payment_callback_forged ON payment_callback (received_at) WHERE NOT authentic")
    op.execute("CREATE INDEX payment_callback_payment ON payment_callback (payment_id)")
    for table in ("subscription", "payment", "payment_transition"):
        protect(table)
    append_only("payment_transition")
    open_table("plan")
    open_table("payment_callback")
    open_table("alembic_version")
    outbox_tables.create()
    kafka_tables.create()
    idempotency.create_table()


def downgrade() -> None:
    raise NotImplementedError("payments are never dropped")
