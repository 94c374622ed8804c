"""Links one by one, and the indexes by which files and transactions are listed."""

from alembic import op

from shared.db.rls import protect

revision = "0007"
down_revision = "0006"

_SHOWN = "version_of IS NULL AND trashed_at IS NULL"


def upgrade() -> None:
    _list_files()
    op.execute("CREATE INDEX storage_transaction_file ON storage_transaction (tenant_id, file_id, occurred_at, seq)")
    op.execute(
        """
        CREATE TABLE file_link (
            id uuid PRIMARY KEY,
            tenant_id uuid NOT NULL REFERENCES tenant_storage,
            file_id uuid REFERENCES stored_file ON DELETE CASCADE,
            kept boolean NOT NULL,
            disposition text NOT NULL DEFAULT 'attachment' CHECK (disposition IN ('attachment', 'inline')),
            password_hash text,
            max_uses int CHECK (max_uses > 0),
            uses int NOT NULL DEFAULT 0,
            continued bigint NOT NULL DEFAULT 0,
            bytes_sent bigint NOT NULL DEFAULT 0,
            failures int NOT NULL DEFAULT 0,
            failed_at timestamptz,
            created_by uuid,
            created_at timestamptz NOT NULL DEFAULT now(),
            expires_at timestamptz NOT NULL,
            revoked_at timestamptz
        )
        """
    )
    op.execute("CREATE INDEX file_link_newest ON file_link (tenant_id, created_at, id)")
    op.execute("CREATE INDEX file_link_file ON file_link (file_id, created_at, id)")
    op.execute("CREATE INDEX file_link_expiry ON file_link (expires_at)")
    protect("file_link")


def _list_files() -> None:
    """Row security lets only leakproof functions into an index condition: comparisons are, lower() is not. Hence the
    column.
    """
    op.execute("ALTER TABLE stored_file ADD sort_name text GENERATED ALWAYS AS (lower(name COLLATE pg_c_utf8)) STORED")
    for name, columns, where in (
        ("name", 'sort_name COLLATE "C", id', ""),
        ("size", "size, id", ""),
        ("category", "category, created_at, id", ""),
        ("type", "file_type, created_at, id", ""),
        ("entity", "entity_id, created_at, id", "entity_id IS NOT NULL"),
        ("project", "project_id, created_at, id", "project_id IS NOT NULL"),
        ("folder", 'folder COLLATE "C", sort_name COLLATE "C", id', ""),
        ("folder_newest", 'folder COLLATE "C", created_at, id', ""),
        ("hidden", "created_at, id", "state <> 'ready'"),
    ):
        condition = f"{_SHOWN} AND {where}" if where else _SHOWN
        op.execute(f"CREATE INDEX stored_file_{name} ON stored_file (tenant_id, {columns}) WHERE {condition}")
    # What is kept aside is summed on every look at the quota.
    op.execute(
        "CREATE INDEX stored_file_trashed ON stored_file (tenant_id) INCLUDE (size) WHERE trashed_at IS NOT NULL"
    )
    op.execute(
        "CREATE INDEX stored_file_versions ON stored_file (tenant_id) INCLUDE (size) WHERE version_of IS NOT NULL"
    )


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped")
