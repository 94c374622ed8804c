"""Whether a threshold that was passed is a hard one; what of each part lies in the trash and in older versions."""

from alembic import op

revision = "0014"
down_revision = "0013"

_COLUMNS = ("trashed_bytes", "trashed_files", "version_bytes", "version_files")


def upgrade() -> None:
    op.execute("ALTER TABLE alert ADD hard boolean NOT NULL DEFAULT false")
    # What was counted before has nothing in them: the next rebuild, of a night or asked for, finds what is missing.
    for table in ("usage_breakdown", "project_storage", "user_usage"):
        op.execute(f"ALTER TABLE {table} {', '.join(f'ADD {name} bigint NOT NULL DEFAULT 0' for name in _COLUMNS)}")


def downgrade() -> None:
    for table in ("usage_breakdown", "project_storage", "user_usage"):
        op.execute(f"ALTER TABLE {table} {', '.join(f'DROP {name}' for name in _COLUMNS)}")
    op.execute("ALTER TABLE alert DROP hard")
