"""Teams that are gone, money that is to be given back, and which payments are in the period under way."""

from alembic import op

from shared.db.alembic_env import roles
from shared.db.rls import protect

revision = "0012"
down_revision = "0011"

_READ = ("subscription", "payment", "payment_transition", "invoice")  # what is looked at for all tenants


def upgrade() -> None:
    op.execute("ALTER TABLE subscription ADD deleted_at timestamptz")
    op.execute(
        """
        ALTER TABLE payment ADD owed bigint NOT NULL DEFAULT 0,
            ADD CONSTRAINT payment_owed CHECK (owed BETWEEN 0 AND amount)
        """
    )
    # No foreign key to the payments: it would lock them after the subscription's row, and everybody does it before.
    op.execute(
        """
        CREATE TABLE period_payment (
            tenant_id uuid NOT NULL REFERENCES subscription,
            payment_id uuid NOT NULL,
            amount bigint NOT NULL CHECK (amount > 0),
            refunded bigint NOT NULL CHECK (refunded >= 0),
            PRIMARY KEY (tenant_id, payment_id)
        )
        """
    )
    for table in _READ:
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(
        """
        UPDATE payment SET owed = amount
        WHERE id IN (SELECT payment_id FROM payment_transition WHERE to_status = 'refund_due')
        """
    )
    _remember()
    for table in _READ:
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    protect("period_payment")
    _list()


def _remember() -> None:
    """What paid for a period that is under way: the newest of the team's payments that bought something, by the order
    of their steps, if it was for the plan in its first period or for the newest invoice of a period. Of any other
    nobody knows, and refunds of it take nothing off.
    """
    op.execute(
        """
        WITH bought AS (
            SELECT DISTINCT ON (p.tenant_id) p.*
            FROM payment AS p JOIN payment_transition AS t ON t.payment_id = p.id AND t.to_status = 'completed'
            WHERE p.purpose IN ('plan', 'invoice') AND p.id NOT IN (
                SELECT payment_id FROM payment_transition
                WHERE from_status = 'completed' AND to_status IN ('refunded', 'refund_due')
            )
            ORDER BY p.tenant_id, t.id DESC
        ), billed AS (
            SELECT DISTINCT ON (tenant_id) tenant_id, payment_id FROM invoice WHERE due_at IS NOT NULL
            ORDER BY tenant_id, issued_at DESC, sequence DESC
        )
        INSERT INTO period_payment (tenant_id, payment_id, amount, refunded)
        SELECT s.tenant_id, p.id, least(p.amount, s.price), 0
        FROM subscription AS s JOIN bought AS p ON p.tenant_id = s.tenant_id
            LEFT JOIN billed AS i ON i.tenant_id = s.tenant_id
        WHERE s.price IS NOT NULL AND s.status = 'active' AND CASE p.purpose
            WHEN 'plan' THEN s.period = 0 AND (p.plan, p.plan_version) = (s.plan, s.plan_version)
            ELSE p.id = i.payment_id END
        """
    )


def _list() -> None:
    """An administrator sees those of all teams. As with `payment_owner`: the owner of the tables looks them up."""
    app, worker = roles()
    op.execute("CREATE INDEX payment_owed ON payment (completed_at, id) WHERE owed > refunded")
    op.execute("CREATE INDEX payment_transition_due ON payment_transition (payment_id) WHERE to_status = 'refund_due'")
    op.execute("CREATE POLICY lookup ON payment_transition FOR SELECT TO CURRENT_USER USING (true)")
    op.execute(
        """
        CREATE FUNCTION payments_owed(after timestamptz, after_id uuid, most int) RETURNS TABLE (
            id uuid, tenant_id uuid, team text, provider text, purpose text, amount bigint, currency text, due bigint,
            completed_at timestamptz, reason text
        )
        LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
        AS $$
            SELECT p.id, p.tenant_id, p.team, p.provider, p.purpose, p.amount, p.currency, p.owed - p.refunded,
                p.completed_at, (
                    SELECT t.source FROM public.payment_transition AS t
                    WHERE t.payment_id = p.id AND t.to_status = 'refund_due' ORDER BY t.id DESC LIMIT 1
                )
            FROM public.payment AS p
            WHERE p.owed > p.refunded AND (after IS NULL OR (p.completed_at, p.id) > (after, after_id))
            ORDER BY p.completed_at, p.id LIMIT most
        $$
        """
    )
    op.execute("REVOKE EXECUTE ON FUNCTION payments_owed(timestamptz, uuid, int) FROM public")
    op.execute(f'GRANT EXECUTE ON FUNCTION payments_owed(timestamptz, uuid, int) TO "{app}", "{worker}"')


def downgrade() -> None:
    raise NotImplementedError("money is never forgotten")
