"""The month an image was counted for, as a column of the ledger: sums and comparisons go by it."""

from alembic import op

revision = "0020"
down_revision = "0018"


def upgrade() -> None:
    op.execute("ALTER TABLE storage_transaction ADD image_month date")
    _fill()
    op.execute(
        """
        CREATE INDEX storage_transaction_images ON storage_transaction (tenant_id, image_month, seq)
        WHERE image_month IS NOT NULL
        """
    )
    _late()
    _redaction()
    # Its last column: the previous version goes on asking for the others.
    op.execute(
        """
        CREATE OR REPLACE VIEW ledger_amount AS
        SELECT tenant_id, seq, action, file_size, delta, file_type, category, project_id, owner, is_version,
            was_trashed, delta_files, previous_size, previous_file_type, previous_category, previous_project_id,
            previous_owner, image_month
        FROM storage_transaction
        """
    )


def _fill() -> None:
    """What the bodies have said all along."""
    op.execute("CREATE POLICY filling ON storage_transaction FOR UPDATE TO CURRENT_USER USING (true) WITH CHECK (true)")
    op.execute("ALTER TABLE storage_transaction DISABLE TRIGGER append_only")
    op.execute(
        """
        UPDATE storage_transaction SET image_month = (body::jsonb ->> 'image_month')::date
        WHERE type IN ('file.stored', 'file.replaced') AND body LIKE '%"image_month"%'
            AND body::jsonb ->> 'image_month' IS NOT NULL
        """
    )
    op.execute("ALTER TABLE storage_transaction ENABLE TRIGGER append_only")
    op.execute("DROP POLICY filling ON storage_transaction")


def _late() -> None:
    """The previous version goes on for a moment, and writes the month into the body alone."""
    op.execute(
        """
        CREATE FUNCTION take_image_month() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.type IN ('file.stored', 'file.replaced') THEN
                NEW.image_month := (NEW.body::jsonb ->> 'image_month')::date;
            END IF;
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER image_month BEFORE INSERT ON storage_transaction FOR EACH ROW
        WHEN (NEW.image_month IS NULL AND NEW.body LIKE '%"image_month":"%') EXECUTE FUNCTION take_image_month()
        """
    )


def _redaction() -> None:
    """The month says nothing of anybody; it is one of the things sums are made of, and stays."""
    op.execute(
        """
        CREATE OR REPLACE FUNCTION only_redact() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'UPDATE' AND OLD.redacted_at IS NULL AND NEW.redacted_at IS NOT NULL
                AND EXISTS (SELECT FROM tenant_storage WHERE tenant_id = OLD.tenant_id AND deleted_at IS NOT NULL)
                AND ROW(NEW.tenant_id, NEW.seq, NEW.id, NEW.action, NEW.type, NEW.file_id, NEW.file_size, NEW.delta,
                        NEW.file_type, NEW.category, NEW.occurred_at, NEW.prev_hash, NEW.hash, NEW.previous_size,
                        NEW.previous_file_type, NEW.previous_category, NEW.delta_files, NEW.is_version, NEW.was_trashed,
                        NEW.image_month)
                  IS NOT DISTINCT FROM
                    ROW(OLD.tenant_id, OLD.seq, OLD.id, OLD.action, OLD.type, OLD.file_id, OLD.file_size, OLD.delta,
                        OLD.file_type, OLD.category, OLD.occurred_at, OLD.prev_hash, OLD.hash, OLD.previous_size,
                        OLD.previous_file_type, OLD.previous_category, OLD.delta_files, OLD.is_version, OLD.was_trashed,
                        OLD.image_month)
            THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION 'table % is append only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
        END $$
        """
    )


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped")
