"""What is stored and moved by minute, hour and day, in partitions that come and go; and the gauge it is read from."""

from alembic import op

from shared.db import rls
from shared.db.alembic_env import roles

revision = "0008"
down_revision = "0007"

_PINNED = "SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC' SET lock_timeout = '3s'"
_KEYS = {"minute": "timestamptz", "hour": "timestamptz", "day": "date"}
_STORAGE = """
    bytes bigint NOT NULL CHECK (bytes >= 0),
    files bigint NOT NULL CHECK (files >= 0),
    peak bigint NOT NULL CHECK (peak >= bytes),
    integral numeric NOT NULL,
    measured_at timestamptz NOT NULL
"""
_TRAFFIC = """
    bytes_in bigint NOT NULL CHECK (bytes_in >= 0),
    bytes_out bigint NOT NULL CHECK (bytes_out >= 0),
    requests bigint NOT NULL CHECK (requests >= 0)
"""


def upgrade() -> None:
    # What was stored before is measured from its last change on.
    op.execute(
        """
        ALTER TABLE tenant_usage
            ADD measured_at timestamptz,
            ADD integral numeric NOT NULL DEFAULT 0,
            ADD minute_peak bigint NOT NULL DEFAULT 0,
            ADD hour_peak bigint NOT NULL DEFAULT 0,
            ADD day_peak bigint NOT NULL DEFAULT 0,
            ADD day date
        """
    )
    # Its own row security would hide the tenants from the owner.
    op.execute("ALTER TABLE tenant_usage NO FORCE ROW LEVEL SECURITY")
    op.execute(
        """
        UPDATE tenant_usage SET measured_at = updated_at, minute_peak = bytes, hour_peak = bytes, day_peak = bytes,
            day = (updated_at AT TIME ZONE 'UTC')::date
        WHERE position > 0
        """
    )
    op.execute("ALTER TABLE tenant_usage FORCE ROW LEVEL SECURITY")
    for grain in _KEYS:
        _table(f"storage_{grain}", grain, _STORAGE)
        _table(f"traffic_{grain}", grain, _TRAFFIC)
    op.execute("CREATE INDEX traffic_day_at ON traffic_day (at)")
    _totals()
    _keep_history()


def _table(name: str, grain: str, columns: str) -> None:
    app, worker = roles()
    op.execute(
        f"""
        CREATE TABLE {name} (
            tenant_id uuid NOT NULL,
            at {_KEYS[grain]} NOT NULL,
            {columns},
            PRIMARY KEY (tenant_id, at)
        ) PARTITION BY RANGE (at)
        """
    )
    op.execute(f"CREATE TABLE {name}_default PARTITION OF {name} DEFAULT")
    rls.protect(name)
    rls.protect(f"{name}_default")
    op.execute(f'REVOKE INSERT, UPDATE, DELETE ON {name} FROM "{app}"')
    # Requests and the consumer come by the parent; only what moves rows between partitions, as the owner, does not.
    op.execute(f'REVOKE ALL ON {name}_default FROM "{app}", "{worker}"')
    op.execute(f"CREATE POLICY owner ON {name} TO CURRENT_USER USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY owner ON {name}_default TO CURRENT_USER USING (true) WITH CHECK (true)")


def _totals() -> None:
    op.execute(
        """
        CREATE TABLE usage_total (
            day date PRIMARY KEY,
            tenants bigint NOT NULL,
            bytes numeric NOT NULL,
            files bigint NOT NULL,
            bytes_in numeric NOT NULL,
            bytes_out numeric NOT NULL,
            requests bigint NOT NULL
        )
        """
    )
    rls.open_table("usage_total")


def _keep_history() -> None:
    """Partitions of one table: those of now and of what comes are made, those past the retention go.

    Of each tenant the newest reading past it stays, in the default partition: it says what was carried into the rest.
    """
    app, worker = roles()
    text = f"""
        CREATE FUNCTION keep_history(metric text, grain text, moment timestamptz, horizon timestamptz) RETURNS int
        LANGUAGE plpgsql SECURITY DEFINER {_PINNED} AS $body$
        DECLARE
            parent text := format('%s_%s', metric, grain);
            width text := CASE grain WHEN 'minute' THEN 'day' WHEN 'hour' THEN 'month' WHEN 'day' THEN 'year' END;
            ahead int := CASE grain WHEN 'minute' THEN 7 ELSE 1 END;
            step interval := ('1 ' || width)::interval;
            since timestamptz := date_trunc(width, moment);
            part text;
            gone int := 0;
        BEGIN
            IF metric NOT IN ('storage', 'traffic') OR width IS NULL OR horizon > moment - interval '1 day' THEN
                RAISE invalid_parameter_value USING MESSAGE = 'no such history';
            END IF;
            PERFORM pg_advisory_xact_lock(hashtext('keep_history'));
            FOR n IN 0..ahead LOOP
                part := format('%s_%s', parent, to_char(since, 'YYYYMMDD'));
                IF to_regclass(part) IS NULL THEN
                    -- Made beside the table and then attached: that stops neither who reads it nor who writes.
                    EXECUTE format('CREATE TABLE public.%I (LIKE %I INCLUDING ALL)', part, parent);
                    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', part);
                    EXECUTE format('CREATE POLICY tenant ON %I TO "{app}" USING (tenant_id =
                        nullif(current_setting(''app.tenant_id'', true), '''')::uuid)', part);
                    EXECUTE format('CREATE POLICY worker ON %I TO "{worker}" USING (true)', part);
                    EXECUTE format('CREATE POLICY owner ON %I TO CURRENT_USER USING (true)', part);
                    EXECUTE format('LOCK TABLE %I IN SHARE UPDATE EXCLUSIVE MODE', parent);
                    EXECUTE format('LOCK TABLE %I_default IN ACCESS EXCLUSIVE MODE', parent);
                    EXECUTE format('WITH early AS (DELETE FROM %I_default WHERE at >= %L AND at < %L RETURNING *)
                        INSERT INTO %I SELECT * FROM early', parent, since, since + step, part);
                    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                        parent, part, since, since + step);
                END IF;
                since := since + step;
            END LOOP;
            FOR part IN
                SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
                WHERE i.inhparent = parent::regclass AND c.relname ~ '_[0-9]{{8}}$'
                  AND to_date(right(c.relname, 8), 'YYYYMMDD') + step <= horizon
                ORDER BY 1
            LOOP
                EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, part);
                IF metric = 'storage' THEN
                    EXECUTE format('INSERT INTO %I SELECT DISTINCT ON (tenant_id) * FROM %I
                        ORDER BY tenant_id, at DESC ON CONFLICT DO NOTHING', parent, part);
                END IF;
                EXECUTE format('DROP TABLE %I', part);
                gone := gone + 1;
            END LOOP;
            IF metric = 'storage' THEN
                EXECUTE format('DELETE FROM %I_default AS d WHERE d.at < %L AND EXISTS (
                    SELECT FROM %I_default AS n WHERE n.tenant_id = d.tenant_id AND n.at > d.at AND n.at < %L)',
                    parent, horizon, parent, horizon);
            ELSE
                EXECUTE format('DELETE FROM %I_default WHERE at < %L', parent, horizon);
            END IF;
            RETURN gone;
        END
        $body$
    """
    op.get_bind().exec_driver_sql(text)
    op.execute("REVOKE EXECUTE ON FUNCTION keep_history FROM PUBLIC")
    op.execute(f'GRANT EXECUTE ON FUNCTION keep_history TO "{worker}"')


def downgrade() -> None:
    op.execute("DROP FUNCTION keep_history")
    op.execute("DROP TABLE usage_total")
    for grain in _KEYS:
        op.execute(f"DROP TABLE storage_{grain}, traffic_{grain}")
    op.execute(
        """
        ALTER TABLE tenant_usage DROP measured_at, DROP integral, DROP minute_peak, DROP hour_peak, DROP day_peak,
            DROP day
        """
    )
