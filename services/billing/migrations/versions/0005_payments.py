"""Payments for more than plans, by more than one provider; refunds; callbacks that are tried again and given up."""

from alembic import op

from shared.db.alembic_env import roles
from shared.db.rls import protect

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    _payments()
    _refunds()
    _callbacks()


def _payments() -> None:
    op.execute(
        """
        ALTER TABLE payment
            ADD provider text NOT NULL DEFAULT 'external' CHECK (provider IN ('external', 'stripe')),
            ADD purpose text NOT NULL DEFAULT 'plan' CHECK (purpose IN ('plan', 'credits', 'invoice')),
            ADD subject text,
            ADD refunded bigint NOT NULL DEFAULT 0,
            ADD CONSTRAINT payment_refunded CHECK (refunded BETWEEN 0 AND amount),
            ALTER plan DROP NOT NULL,
            ALTER plan_version DROP NOT NULL
        """
    )
    op.execute("UPDATE payment SET subject = plan")
    op.execute(
        """
        ALTER TABLE payment
            ALTER subject SET NOT NULL,
            ALTER provider DROP DEFAULT,
            ALTER purpose DROP DEFAULT,
            ADD CONSTRAINT payment_plan
                CHECK ((purpose = 'plan') = (plan IS NOT NULL AND plan_version IS NOT NULL)),
            DROP CONSTRAINT payment_external,
            ADD CONSTRAINT payment_external UNIQUE (provider, external_id)
        """
    )
    # Any two plans are the same change: a team has one. Two packs or two invoices are two.
    op.execute("DROP INDEX payment_open")
    op.execute(
        """
        CREATE UNIQUE INDEX payment_open ON payment
            (tenant_id, purpose, (CASE WHEN purpose = 'plan' THEN '' ELSE subject END))
            WHERE status IN ('pending', 'processing')
        """
    )
    op.execute("CREATE INDEX payment_oldest_open ON payment (created_at) WHERE status IN ('pending', 'processing')")
    # An administrator names a payment without its tenant. The owner of the table, whom row security binds, too, may
    # look that up, and nothing else of it leaves the function.
    app, worker = roles()
    op.execute("CREATE POLICY lookup ON payment FOR SELECT TO CURRENT_USER USING (true)")
    op.execute(
        """
        CREATE FUNCTION payment_owner(wanted uuid) RETURNS uuid
        LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
        AS $$ SELECT tenant_id FROM public.payment WHERE id = wanted $$
        """
    )
    op.execute("REVOKE EXECUTE ON FUNCTION payment_owner(uuid) FROM public")
    op.execute(f'GRANT EXECUTE ON FUNCTION payment_owner(uuid) TO "{app}", "{worker}"')


def _refunds() -> None:
    op.execute(
        """
        CREATE TABLE payment_refund (
            id uuid PRIMARY KEY,
            tenant_id uuid NOT NULL,
            payment_id uuid NOT NULL REFERENCES payment,
            client_id text NOT NULL,
            amount bigint NOT NULL CHECK (amount > 0),
            reason text NOT NULL,
            requested_by text NOT NULL,
            status text NOT NULL CHECK (status IN ('pending', 'completed', 'failed')),
            external_id text,
            created_at timestamptz NOT NULL,
            settled_at timestamptz,
            next_try_at timestamptz NOT NULL,
            tries int NOT NULL DEFAULT 0,
            CONSTRAINT payment_refund_client UNIQUE (payment_id, client_id)
        )
        """
    )
    protect("payment_refund")
    op.execute("CREATE INDEX payment_refund_due ON payment_refund (next_try_at) WHERE status = 'pending'")


def _callbacks() -> None:
    op.execute(
        """
        ALTER TABLE payment_callback
            ADD redacted boolean NOT NULL DEFAULT false,
            ADD attempts int NOT NULL DEFAULT 0,
            ADD next_attempt_at timestamptz,
            ADD error text,
            ADD replayed_at timestamptz,
            ADD replayed_by text,
            DROP CONSTRAINT payment_callback_verdict_check,
            ADD CONSTRAINT payment_callback_verdict_check
                CHECK (verdict IN ('received', 'accepted', 'ignored', 'rejected', 'dead'))
        """
    )
    op.execute("CREATE INDEX payment_callback_newest ON payment_callback (received_at DESC, id DESC)")
    op.execute("CREATE INDEX payment_callback_dead ON payment_callback (received_at, id) WHERE verdict = 'dead'")
