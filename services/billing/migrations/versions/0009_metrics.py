"""Which terms each team had when, and what business metrics are counted from.

The views show whoever asks what row security lets them see, and the app's role may not ask. Figures over all teams
leave by functions that give sums and nothing of a team.
"""

from alembic import op

from shared.db.alembic_env import roles
from shared.db.rls import append_only, protect

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    _history()
    _remember()
    _views()
    _figures()


def _history() -> None:
    op.execute(
        """
        CREATE TABLE subscription_history (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            tenant_id uuid NOT NULL,
            plan text NOT NULL,
            plan_version int NOT NULL,
            interval text,
            currency text,
            price bigint,
            at timestamptz NOT NULL
        )
        """
    )
    protect("subscription_history")
    op.execute("CREATE INDEX subscription_history_of ON subscription_history (tenant_id, at, id)")
    op.execute("CREATE POLICY lookup ON subscription_history FOR SELECT TO CURRENT_USER USING (true)")
    # A trigger, so that no way of changing a subscription can forget it.
    op.execute(
        """
        CREATE FUNCTION keep_terms() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' OR (NEW.plan, NEW.plan_version, NEW.interval, NEW.currency, NEW.price)
                IS DISTINCT FROM (OLD.plan, OLD.plan_version, OLD.interval, OLD.currency, OLD.price)
            THEN
                INSERT INTO subscription_history (tenant_id, plan, plan_version, interval, currency, price, at)
                VALUES (NEW.tenant_id, NEW.plan, NEW.plan_version, NEW.interval, NEW.currency, NEW.price,
                    NEW.started_at);
            END IF;
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER keep_terms AFTER INSERT OR UPDATE ON subscription FOR EACH ROW EXECUTE FUNCTION keep_terms()"
    )


def _remember() -> None:
    """What can still be known of before: when a team came, and the terms it has now."""
    for table in ("subscription", "subscription_history", "outbox_event"):
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(
        """
        INSERT INTO subscription_history (tenant_id, plan, plan_version, at)
        SELECT s.tenant_id, e.body::jsonb ->> 'plan', (e.body::jsonb ->> 'plan_version')::int, e.occurred_at
        FROM subscription AS s JOIN outbox_event AS e
            ON e.tenant_id = s.tenant_id AND e.topic = 'entitlements.v1' AND e.seq = 1 AND e.occurred_at < s.started_at
        """
    )
    op.execute(
        """
        INSERT INTO subscription_history (tenant_id, plan, plan_version, interval, currency, price, at)
        SELECT tenant_id, plan, plan_version, interval, currency, price, started_at FROM subscription
        """
    )
    for table in ("subscription", "subscription_history", "outbox_event"):
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    append_only("subscription_history")


def _views() -> None:
    _, worker = roles()
    op.execute(
        """
        CREATE VIEW subscription_span WITH (security_invoker = true) AS
        SELECT tenant_id, plan, plan_version, interval, currency, price, price IS NOT NULL AS pays, at AS since,
            lead(at) OVER (PARTITION BY tenant_id ORDER BY at, id) AS until
        FROM subscription_history
        """
    )
    op.execute(
        """
        CREATE VIEW team_conversion WITH (security_invoker = true) AS
        SELECT tenant_id, min(at) AS joined_at, min(at) FILTER (WHERE price IS NOT NULL) AS converted_at
        FROM subscription_history GROUP BY tenant_id
        """
    )
    op.execute(
        """
        CREATE VIEW payment_outcome WITH (security_invoker = true) AS
        SELECT tenant_id, method, created_at,
            CASE WHEN status IN ('pending', 'processing') THEN 'open' ELSE status END AS outcome
        FROM payment
        """
    )
    for view in ("subscription_span", "team_conversion", "payment_outcome"):
        op.execute(f'GRANT SELECT ON {view} TO "{worker}"')


def _figures() -> None:
    """`$1` and `$2` are from when on and before when."""
    _function(
        "metric_conversion(timestamptz, timestamptz) RETURNS TABLE (candidates bigint, converted bigint)",
        """
        SELECT count(*), count(*) FILTER (WHERE converted_at < $2)
        FROM public.team_conversion WHERE joined_at < $2 AND (converted_at IS NULL OR converted_at >= $1)
        """,
    )
    _function(
        "metric_payments(timestamptz, timestamptz) RETURNS TABLE "
        "(method text, completed bigint, failed bigint, cancelled bigint, open bigint)",
        """
        SELECT method, count(*) FILTER (WHERE outcome = 'completed'), count(*) FILTER (WHERE outcome = 'failed'),
            count(*) FILTER (WHERE outcome = 'cancelled'), count(*) FILTER (WHERE outcome = 'open')
        FROM public.payment_outcome WHERE created_at >= $1 AND created_at < $2 GROUP BY method
        """,
    )
    # Rounded once for a currency and not once a team, which would add up to something else.
    _function(
        "metric_recurring(timestamptz) RETURNS TABLE (currency text, teams bigint, amount bigint)",
        """
        SELECT currency, count(*), ((sum(price * CASE interval WHEN 'year' THEN 1 ELSE 12 END) + 6)::bigint / 12)
        FROM public.subscription_span WHERE pays AND since <= $1 AND (until > $1 OR until IS NULL) GROUP BY currency
        """,
    )
    _function(
        "metric_churn(timestamptz, timestamptz) RETURNS TABLE (paying bigint, lost bigint)",
        """
        SELECT count(*), count(*) FILTER (WHERE NOT EXISTS (
            SELECT FROM public.subscription_span AS l
            WHERE l.tenant_id = f.tenant_id AND l.pays AND l.since <= $2 AND (l.until > $2 OR l.until IS NULL)
        ))
        FROM public.subscription_span AS f WHERE f.pays AND f.since <= $1 AND (f.until > $1 OR f.until IS NULL)
        """,
    )


def _function(head: str, body: str) -> None:
    app, worker = roles()
    op.execute(
        f"CREATE FUNCTION {head} LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp "
        f"AS $${body}$$"
    )
    signature = head.split(" RETURNS ", maxsplit=1)[0]
    op.execute(f"REVOKE EXECUTE ON FUNCTION {signature} FROM public")
    op.execute(f'GRANT EXECUTE ON FUNCTION {signature} TO "{app}", "{worker}"')


def downgrade() -> None:
    raise NotImplementedError("what was had is never forgotten")
