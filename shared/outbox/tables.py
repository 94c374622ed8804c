"""The outbox's tables, made inside a service's migration."""

from alembic import op

from shared.db.rls import append_only, open_table, protect


def create(*, own_events: bool = True) -> None:
    """`own_events=False` where the service's ledger itself is the outbox and only the relay's notes are needed."""
    if own_events:
        create_events()
        append_only("outbox_event")
    op.execute(
        """
        CREATE TABLE outbox_cursor (
            topic text NOT NULL,
            tenant_id uuid NOT NULL,
            published_seq bigint NOT NULL,
            PRIMARY KEY (topic, tenant_id)
        )
        """
    )
    protect("outbox_cursor")
    op.execute("CREATE TABLE outbox_cluster (topic text PRIMARY KEY, cluster_id text NOT NULL)")
    open_table("outbox_cluster")


def create_events() -> None:
    """What `append` writes to."""
    op.execute(
        """
        CREATE TABLE outbox_head (
            topic text NOT NULL,
            tenant_id uuid NOT NULL,
            seq bigint NOT NULL CHECK (seq > 0),
            PRIMARY KEY (topic, tenant_id)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE outbox_event (
            topic text NOT NULL,
            tenant_id uuid NOT NULL,
            seq bigint NOT NULL CHECK (seq > 0),
            id uuid NOT NULL UNIQUE,
            type text NOT NULL,
            occurred_at timestamptz NOT NULL,
            body text NOT NULL,
            traceparent text,
            PRIMARY KEY (topic, tenant_id, seq)
        )
        """
    )
    protect("outbox_head")
    protect("outbox_event")
