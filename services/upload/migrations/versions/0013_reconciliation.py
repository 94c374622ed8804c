"""Ledger, account and files compared: what came of it, how far it has come, and entries that put them right."""

from alembic import op

from shared.db.alembic_env import roles
from shared.db.rls import protect

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    _adjustments()
    _redaction()
    _reconciliations()


def _adjustments() -> None:
    """An adjustment is of no file: it says itself by how many files it changes the sums."""
    op.execute(
        """
        ALTER TABLE storage_transaction
            ALTER file_id DROP NOT NULL,
            ADD delta_files bigint,
            DROP CONSTRAINT storage_transaction_action_check,
            ADD CHECK (action IN ('upload', 'delete', 'replace', 'move', 'trash', 'restore', 'adjust')) NOT VALID,
            ADD CONSTRAINT storage_transaction_file CHECK (
                (file_id IS NULL) = (action = 'adjust') AND (delta_files IS NULL) = (action <> 'adjust')
            ) NOT VALID
        """
    )


def _redaction() -> None:
    op.execute(
        """
        CREATE OR REPLACE FUNCTION only_redact() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'UPDATE' AND OLD.redacted_at IS NULL AND NEW.redacted_at IS NOT NULL
                AND EXISTS (SELECT FROM tenant_storage WHERE tenant_id = OLD.tenant_id AND deleted_at IS NOT NULL)
                AND ROW(NEW.tenant_id, NEW.seq, NEW.id, NEW.action, NEW.type, NEW.file_id, NEW.file_size, NEW.delta,
                        NEW.file_type, NEW.category, NEW.occurred_at, NEW.prev_hash, NEW.hash, NEW.previous_size,
                        NEW.previous_file_type, NEW.previous_category, NEW.delta_files)
                  IS NOT DISTINCT FROM
                    ROW(OLD.tenant_id, OLD.seq, OLD.id, OLD.action, OLD.type, OLD.file_id, OLD.file_size, OLD.delta,
                        OLD.file_type, OLD.category, OLD.occurred_at, OLD.prev_hash, OLD.hash, OLD.previous_size,
                        OLD.previous_file_type, OLD.previous_category, OLD.delta_files)
            THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION 'table % is append only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
        END $$
        """
    )


def _reconciliations() -> None:
    app, _ = roles()
    op.execute(
        """
        CREATE TABLE reconciliation (
            id uuid PRIMARY KEY,
            tenant_id uuid NOT NULL,
            at timestamptz NOT NULL,
            position bigint NOT NULL,
            differing boolean NOT NULL,
            repaired boolean NOT NULL,
            result jsonb NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX reconciliation_newest ON reconciliation (at, id)")
    op.execute("CREATE INDEX reconciliation_tenant ON reconciliation (tenant_id, at, id)")
    # `kinds` is the fold of the entries 1 … `position`; `gap` is what is apart since `gap_since`, `drift` how far
    # each side was away when it was last looked at.
    op.execute(
        """
        CREATE TABLE reconciliation_checkpoint (
            tenant_id uuid PRIMARY KEY,
            position bigint NOT NULL,
            kinds jsonb NOT NULL,
            looked_at timestamptz NOT NULL DEFAULT now(),
            whole_at timestamptz NOT NULL DEFAULT now(),
            drift jsonb NOT NULL DEFAULT '[]',
            gap jsonb,
            gap_since timestamptz
        ) WITH (fillfactor = 70)
        """
    )
    for table in ("reconciliation", "reconciliation_checkpoint"):
        protect(table)
    op.execute(
        f'CREATE POLICY staff ON reconciliation FOR SELECT TO "{app}" '
        "USING (current_setting('app.staff', true) = 'reconciliations')"
    )


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped")
