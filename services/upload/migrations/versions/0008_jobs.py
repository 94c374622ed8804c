"""Jobs' history, what does not fit together, clean-ups, exports, and erasures with their certificates."""

from alembic import op

from shared.db.rls import open_table, protect

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    _jobs()
    _cleanups()
    _exports()
    _erasures()


def _jobs() -> None:
    op.execute(
        """
        CREATE TABLE job_run (
            id uuid PRIMARY KEY,
            name text NOT NULL,
            started_at timestamptz NOT NULL DEFAULT now(),
            ended_at timestamptz,
            result jsonb,
            error text
        )
        """
    )
    op.execute("CREATE INDEX job_run_newest ON job_run (name, id DESC)")
    open_table("job_run")
    # Bytes nobody needs any more at the moment they are let go; `at` is from when on they may go.
    op.execute("CREATE INDEX blob_garbage_due ON blob_garbage (at)")
    # An object is one file's: adopted twice, it would go with whichever is deleted first.
    op.execute("CREATE UNIQUE INDEX stored_file_object ON stored_file (location, path)")
    # Where rows and objects do not agree. Of an object without a row the tenant may be unknown.
    op.execute(
        """
        CREATE TABLE storage_finding (
            id uuid PRIMARY KEY,
            tenant_id uuid,
            kind text NOT NULL CHECK (kind IN ('orphan', 'abandoned', 'missing', 'damaged')),
            location text NOT NULL,
            path text NOT NULL,
            size bigint NOT NULL,
            found_at timestamptz NOT NULL DEFAULT now(),
            ended_at timestamptz,
            outcome text CHECK (outcome IN ('removed', 'owned', 'back', 'gone'))
        )
        """
    )
    op.execute(
        "CREATE UNIQUE INDEX storage_finding_open ON storage_finding (kind, location, path) WHERE ended_at IS NULL"
    )
    op.execute("CREATE INDEX storage_finding_time ON storage_finding (found_at)")
    protect("storage_finding")


def _cleanups() -> None:
    op.execute(
        """
        CREATE TABLE cleanup (
            id uuid PRIMARY KEY,
            tenant_id uuid NOT NULL REFERENCES tenant_storage,
            wanted jsonb NOT NULL,
            planned_by uuid,
            planned_at timestamptz NOT NULL DEFAULT now(),
            complete boolean NOT NULL,
            started_at timestamptz,
            ended_at timestamptz
        )
        """
    )
    op.execute("CREATE INDEX cleanup_newest ON cleanup (tenant_id, id DESC)")
    op.execute(
        """
        CREATE TABLE cleanup_item (
            cleanup_id uuid NOT NULL REFERENCES cleanup ON DELETE CASCADE,
            number int NOT NULL,
            tenant_id uuid NOT NULL,
            kind text NOT NULL,
            thing_id uuid NOT NULL,
            name text NOT NULL,
            size bigint NOT NULL,
            keeps uuid,
            given jsonb NOT NULL,
            outcome text CHECK (outcome IN ('freed', 'changed')),
            PRIMARY KEY (cleanup_id, number)
        )
        """
    )
    protect("cleanup")
    protect("cleanup_item")


def _exports() -> None:
    op.execute(
        """
        CREATE TABLE export (
            id uuid PRIMARY KEY,
            tenant_id uuid NOT NULL REFERENCES tenant_storage,
            wanted jsonb NOT NULL,
            status text NOT NULL DEFAULT 'pending'
                CHECK (status IN ('pending', 'running', 'verifying', 'ready', 'incomplete', 'failed', 'expired')),
            requested_by uuid,
            created_at timestamptz NOT NULL DEFAULT now(),
            ended_at timestamptz,
            started_at timestamptz,
            expires_at timestamptz,
            location text,
            position bigint,
            files_total bigint NOT NULL DEFAULT 0,
            bytes_total bigint NOT NULL DEFAULT 0,
            files_done bigint NOT NULL DEFAULT 0,
            bytes_done bigint NOT NULL DEFAULT 0,
            upload_id uuid,
            written bigint NOT NULL DEFAULT 0,
            resume jsonb,
            size bigint,
            attempts int NOT NULL DEFAULT 0,
            due_at timestamptz NOT NULL DEFAULT now(),
            error text
        )
        """
    )
    op.execute("CREATE INDEX export_newest ON export (tenant_id, id DESC)")
    op.execute("CREATE INDEX export_open ON export (id) WHERE status IN ('pending', 'running', 'verifying')")
    op.execute("CREATE INDEX export_expiry ON export (expires_at) WHERE status IN ('ready', 'incomplete', 'failed')")
    # The archive's members in order: the snapshot first, then what came of each.
    op.execute(
        """
        CREATE TABLE export_entry (
            export_id uuid NOT NULL REFERENCES export ON DELETE CASCADE,
            number bigint NOT NULL,
            tenant_id uuid NOT NULL,
            file jsonb,
            name text,
            at bigint,
            size bigint,
            crc bigint,
            problem text,
            PRIMARY KEY (export_id, number)
        )
        """
    )
    protect("export")
    protect("export_entry")


def _erasures() -> None:
    op.execute(
        """
        CREATE TABLE erasure (
            tenant_id uuid PRIMARY KEY,
            status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'done')),
            requested_by uuid,
            requested_at timestamptz NOT NULL DEFAULT now(),
            from_seq bigint NOT NULL,
            ended_at timestamptz,
            removed jsonb NOT NULL DEFAULT '{"files": 0, "bytes": 0, "hashes": null}',
            certificate text,
            signature text,
            error text
        )
        """
    )
    op.execute("CREATE INDEX erasure_open ON erasure (requested_at) WHERE status = 'pending'")
    protect("erasure")
    op.execute("ALTER TABLE storage_transaction ADD redacted_at timestamptz")
    # The one change an entry may undergo: its tenant was erased, and what spoke of people goes. Everything the counters
    # and the chain are made of stays.
    op.execute(
        """
        CREATE FUNCTION only_redact() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'UPDATE' AND OLD.redacted_at IS NULL AND NEW.redacted_at IS NOT NULL
                AND EXISTS (SELECT FROM tenant_storage WHERE tenant_id = OLD.tenant_id AND deleted_at IS NOT NULL)
                AND (NEW.tenant_id, NEW.seq, NEW.id, NEW.action, NEW.type, NEW.file_id, NEW.file_size, NEW.delta,
                     NEW.file_type, NEW.category, NEW.occurred_at, NEW.prev_hash, NEW.hash)
                  = (OLD.tenant_id, OLD.seq, OLD.id, OLD.action, OLD.type, OLD.file_id, OLD.file_size, OLD.delta,
                     OLD.file_type, OLD.category, OLD.occurred_at, OLD.prev_hash, OLD.hash)
                AND NEW.previous_size IS NOT DISTINCT FROM OLD.previous_size
                AND NEW.previous_file_type IS NOT DISTINCT FROM OLD.previous_file_type
                AND NEW.previous_category IS NOT DISTINCT FROM OLD.previous_category
            THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION 'table % is append only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
        END $$
        """
    )
    op.execute("DROP TRIGGER append_only ON storage_transaction")
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON storage_transaction "
        "FOR EACH ROW EXECUTE FUNCTION only_redact()"
    )


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped")
