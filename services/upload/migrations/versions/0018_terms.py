"""Whoever changes what a tenant may store tells all processes, in the same commit."""

from alembic import op

revision = "0018"
down_revision = "0017"

_TERMS = (
    *("plan", "max_file_bytes", "allowed_types", "images_month", "trash_days", "versions_kept", "timezone"),
    *("location", "deleted_at"),
)


def upgrade() -> None:
    # A trigger, so that no way of changing them can forget it. NOTIFY makes commits that have one wait for each other:
    # what an upload writes, used and reserved, is not among these columns.
    op.execute(
        """
        CREATE FUNCTION tell_terms() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('upload_terms', NEW.tenant_id::text);
            RETURN NULL;
        END $$
        """
    )
    before, after = (", ".join(f"{row}.{name}" for name in _TERMS) for row in ("OLD", "NEW"))
    op.execute(
        f"CREATE TRIGGER tell_terms AFTER UPDATE OF {', '.join(_TERMS)} ON tenant_storage FOR EACH ROW "
        f"WHEN (({before}) IS DISTINCT FROM ({after})) EXECUTE FUNCTION tell_terms()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER tell_terms ON tenant_storage")
    op.execute("DROP FUNCTION tell_terms")
