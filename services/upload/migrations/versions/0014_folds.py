"""The ledger's amounts, for the sums of all tenants: whose file and which project an entry speaks of is a column."""

from alembic import op

from shared.db.alembic_env import roles

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE storage_transaction
            ADD owner uuid,
            ADD project_id uuid,
            ADD previous_owner uuid,
            ADD previous_project_id uuid,
            ADD is_version boolean NOT NULL DEFAULT false,
            ADD was_trashed boolean NOT NULL DEFAULT false
        """
    )
    # Row security is forced on the owner, too. It reads the ledger for the view below.
    op.execute("CREATE POLICY owner ON storage_transaction FOR SELECT TO CURRENT_USER USING (true)")
    _fill()
    _redaction()
    _view()


def _fill() -> None:
    """What the bodies have said all along."""
    op.execute("CREATE POLICY filling ON storage_transaction FOR UPDATE TO CURRENT_USER USING (true) WITH CHECK (true)")
    op.execute("ALTER TABLE storage_transaction DISABLE TRIGGER append_only")
    op.execute(
        """
        UPDATE storage_transaction AS t SET
            owner = (b.body ->> 'uploaded_by')::uuid,
            project_id = (b.body ->> 'project_id')::uuid,
            previous_owner = (b.body -> 'previous' ->> 'uploaded_by')::uuid,
            previous_project_id = (b.body -> 'previous' ->> 'project_id')::uuid,
            is_version = b.body ->> 'version_of' IS NOT NULL,
            was_trashed = coalesce((b.body ->> 'trashed')::boolean, false)
        FROM (SELECT tenant_id, seq, body::jsonb AS body FROM storage_transaction) AS b
        WHERE (b.tenant_id, b.seq) = (t.tenant_id, t.seq)
        """
    )
    op.execute("ALTER TABLE storage_transaction ENABLE TRIGGER append_only")
    op.execute("DROP POLICY filling ON storage_transaction")


def _redaction() -> None:
    """Whose it was may go with the erased tenant, and of which project; what the sums are made of stays."""
    op.execute(
        """
        CREATE OR REPLACE FUNCTION only_redact() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'UPDATE' AND OLD.redacted_at IS NULL AND NEW.redacted_at IS NOT NULL
                AND EXISTS (SELECT FROM tenant_storage WHERE tenant_id = OLD.tenant_id AND deleted_at IS NOT NULL)
                AND ROW(NEW.tenant_id, NEW.seq, NEW.id, NEW.action, NEW.type, NEW.file_id, NEW.file_size, NEW.delta,
                        NEW.file_type, NEW.category, NEW.occurred_at, NEW.prev_hash, NEW.hash, NEW.previous_size,
                        NEW.previous_file_type, NEW.previous_category, NEW.delta_files, NEW.is_version, NEW.was_trashed)
                  IS NOT DISTINCT FROM
                    ROW(OLD.tenant_id, OLD.seq, OLD.id, OLD.action, OLD.type, OLD.file_id, OLD.file_size, OLD.delta,
                        OLD.file_type, OLD.category, OLD.occurred_at, OLD.prev_hash, OLD.hash, OLD.previous_size,
                        OLD.previous_file_type, OLD.previous_category, OLD.delta_files, OLD.is_version, OLD.was_trashed)
            THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION 'table % is append only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
        END $$
        """
    )


def _view() -> None:
    """All tenants' entries without names, paths and bodies, to be summed by the role that otherwise sees one tenant."""
    app, worker = roles()
    op.execute(
        """
        CREATE VIEW ledger_amount AS
        SELECT tenant_id, seq, action, file_size, delta, file_type, category, project_id, owner, is_version,
            was_trashed, delta_files, previous_size, previous_file_type, previous_category, previous_project_id,
            previous_owner
        FROM storage_transaction
        """
    )
    op.execute(f'GRANT SELECT ON ledger_amount TO "{app}", "{worker}"')


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped")
