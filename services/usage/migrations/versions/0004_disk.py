"""What projects take on the Docker Engine's disk, day by day, and the runs that found it out."""

from alembic import op

from shared.db import rls

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # A project may be measured before its tenant has stored anything: nothing is referred to.
    op.execute(
        """
        CREATE TABLE disk_usage (
            tenant_id uuid NOT NULL,
            project_id uuid NOT NULL,
            day date NOT NULL,
            volumes_bytes bigint NOT NULL CHECK (volumes_bytes >= 0),
            images_bytes bigint NOT NULL CHECK (images_bytes >= 0),
            volumes int NOT NULL,
            images int NOT NULL,
            unknown int NOT NULL,
            taken_at timestamptz NOT NULL,
            PRIMARY KEY (tenant_id, project_id, day)
        )
        """
    )
    # A run replaces a day, and the newest figures are those of a day.
    op.execute("CREATE INDEX disk_usage_day ON disk_usage (day, tenant_id)")
    rls.protect("disk_usage")
    op.execute(
        """
        CREATE TABLE disk_run (
            id uuid PRIMARY KEY,
            status text NOT NULL CHECK (status IN ('waiting', 'running', 'done', 'failed')),
            requested_at timestamptz NOT NULL,
            requested_by uuid,
            day date,
            started_at timestamptz,
            finished_at timestamptz,
            engine text,
            api text,
            projects int NOT NULL DEFAULT 0,
            volumes_bytes bigint NOT NULL DEFAULT 0,
            images_bytes bigint NOT NULL DEFAULT 0,
            unassigned_volumes_bytes bigint NOT NULL DEFAULT 0,
            unassigned_images_bytes bigint NOT NULL DEFAULT 0,
            unassigned int NOT NULL DEFAULT 0,
            mislabelled int NOT NULL DEFAULT 0,
            unknown int NOT NULL DEFAULT 0,
            error text
        )
        """
    )
    op.execute("CREATE UNIQUE INDEX disk_run_open ON disk_run (status) WHERE status IN ('waiting', 'running')")
    op.execute("CREATE INDEX disk_run_newest ON disk_run (requested_at, id)")
    op.execute("CREATE INDEX disk_run_day ON disk_run (day, started_at) WHERE status = 'done'")
    rls.open_table("disk_run")


def downgrade() -> None:
    op.execute("DROP TABLE disk_run")
    op.execute("DROP TABLE disk_usage")
