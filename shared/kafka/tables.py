"""The consumer's bookkeeping, made inside a service's migration."""

from alembic import op

from shared.db.rls import open_table, protect


def create() -> None:
    """Stored offsets, the last seq per stream and tenant, and what could not be applied."""
    op.execute(
        """
        CREATE TABLE consumer_offset (
            group_name text NOT NULL,
            cluster_id text NOT NULL,
            topic text NOT NULL,
            partition int NOT NULL,
            next_offset bigint NOT NULL,
            PRIMARY KEY (group_name, cluster_id, topic, partition)
        )
        """
    )
    open_table("consumer_offset")
    op.execute(
        """
        CREATE TABLE consumer_position (
            topic text NOT NULL,
            tenant_id uuid NOT NULL,
            seq bigint NOT NULL,
            PRIMARY KEY (topic, tenant_id)
        )
        """
    )
    protect("consumer_position")
    op.execute(
        """
        CREATE TABLE dead_letter (
            id uuid PRIMARY KEY,
            group_name text NOT NULL,
            topic text NOT NULL,
            partition int NOT NULL,
            record_offset bigint NOT NULL,
            tenant_id uuid,
            seq bigint,
            type text,
            key bytea,
            headers jsonb NOT NULL,
            value bytea,
            error text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            published_at timestamptz,
            resolved_at timestamptz
        )
        """
    )
    op.execute("COMMENT ON TABLE dead_letter IS 'not a tenant table: records that could not even be read have none'")
    open_table("dead_letter")
