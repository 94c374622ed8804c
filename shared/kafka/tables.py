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


def resolve_dead_letters() -> None:
    """What becomes of dead letters: replayed or discarded, by whom, and which of them can be replayed at all."""
    op.execute(
        """
        ALTER TABLE dead_letter
            ADD left_out boolean NOT NULL DEFAULT false,
            ADD attempts int NOT NULL DEFAULT 0,
            ADD replay_requested_at timestamptz,
            ADD replay_requested_by text,
            ADD resolution text CHECK (resolution IN ('replayed', 'discarded')),
            ADD resolved_by text,
            ADD reason text
        """
    )
    # Those that were put right by hand; and which were left out, told by their errors as far as that is certain.
    op.execute(
        """
        UPDATE dead_letter SET resolution = 'discarded', reason = 'put right by hand' WHERE resolved_at IS NOT NULL
        """
    )
    op.execute(
        """
        UPDATE dead_letter SET left_out = true
        WHERE tenant_id IS NOT NULL AND (partition < 0 OR error NOT SIMILAR TO
            '(ValidationError:|ValueError: the body speaks|LookupError: the source''s ledger)%')
        """
    )
    op.execute(
        """
        ALTER TABLE dead_letter ADD CONSTRAINT dead_letter_resolved
            CHECK ((resolved_at IS NULL) = (resolution IS NULL))
        """
    )
    op.execute("CREATE INDEX dead_letter_newest ON dead_letter (created_at DESC, id DESC)")
    op.execute("CREATE INDEX dead_letter_waiting ON dead_letter (created_at DESC, id DESC) WHERE resolved_at IS NULL")
