"""Folders, versions, trash, scanning, images of the month, and where a tenant's bytes live."""

from alembic import op

from shared.db.rls import protect

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE tenant_storage
            ADD images_month bigint CHECK (images_month >= 0),
            ADD allowed_types text[],
            ADD trash_days int NOT NULL DEFAULT 0 CHECK (trash_days >= 0),
            ADD versions_kept int NOT NULL DEFAULT 0 CHECK (versions_kept >= 0),
            ADD timezone text NOT NULL DEFAULT 'UTC',
            ADD location text NOT NULL DEFAULT 'default',
            ADD deleted_at timestamptz
        """
    )
    op.execute("ALTER TABLE reservation ADD image_month date")
    op.execute("CREATE INDEX reservation_images ON reservation (tenant_id, image_month) WHERE image_month IS NOT NULL")
    op.execute(
        """
        CREATE TABLE image_month (
            tenant_id uuid NOT NULL REFERENCES tenant_storage,
            month date NOT NULL,
            used bigint NOT NULL CHECK (used >= 0),
            PRIMARY KEY (tenant_id, month)
        )
        """
    )
    protect("image_month")
    op.execute(
        """
        ALTER TABLE stored_file
            ADD folder text NOT NULL DEFAULT '',
            ADD location text NOT NULL DEFAULT 'default',
            ADD state text NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'scanning', 'blocked')),
            ADD version_of uuid,
            ADD trashed_at timestamptz,
            ADD trashed_by uuid,
            ADD purge_at timestamptz,
            ADD updated_at timestamptz NOT NULL DEFAULT now()
        """
    )
    op.execute("DROP INDEX stored_file_newest")
    shown = "version_of IS NULL AND trashed_at IS NULL"
    op.execute(f"CREATE INDEX stored_file_newest ON stored_file (tenant_id, created_at, id) WHERE {shown}")
    op.execute(f"CREATE INDEX stored_file_place ON stored_file (tenant_id, category, folder, name, id) WHERE {shown}")
    op.execute("CREATE INDEX stored_file_version ON stored_file (version_of, created_at) WHERE version_of IS NOT NULL")
    op.execute("CREATE INDEX stored_file_trash ON stored_file (tenant_id, trashed_at, id) WHERE trashed_at IS NOT NULL")
    op.execute("CREATE INDEX stored_file_purge ON stored_file (purge_at) WHERE trashed_at IS NOT NULL")
    op.execute("CREATE INDEX stored_file_hash ON stored_file (tenant_id, sha256)")
    op.execute(
        """
        ALTER TABLE storage_transaction
            DROP CONSTRAINT storage_transaction_action_check,
            ADD CHECK (action IN ('upload', 'delete', 'replace', 'move', 'trash', 'restore')),
            ADD previous_size bigint,
            ADD previous_file_type text,
            ADD previous_category text
        """
    )
    op.execute("CREATE INDEX storage_transaction_time ON storage_transaction (tenant_id, occurred_at, seq)")
    op.execute("ALTER TABLE blob_garbage ADD location text NOT NULL DEFAULT 'default'")
    op.execute("ALTER TABLE blob_garbage DROP CONSTRAINT blob_garbage_pkey, ADD PRIMARY KEY (location, path)")
    # What is to be done with a file after it is stored: scanned, looked at. Done is deleted.
    op.execute(
        """
        CREATE TABLE file_task (
            file_id uuid NOT NULL REFERENCES stored_file ON DELETE CASCADE,
            kind text NOT NULL,
            tenant_id uuid NOT NULL,
            attempts int NOT NULL DEFAULT 0,
            due_at timestamptz NOT NULL DEFAULT now(),
            error text,
            PRIMARY KEY (file_id, kind)
        )
        """
    )
    op.execute("CREATE INDEX file_task_due ON file_task (due_at)")
    protect("file_task")


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped")
