"""Calculating what is stored changes no counter: one that differs is put right from the ledger."""

from alembic import op

revision = "0013"
down_revision = "0012"

_NAMES = "total_used, last_calculation, storage_categories, cleanup_history, user_id"
_ASSIGNED = ", ".join(f"{name} = excluded.{name}" for name in _NAMES.split(", "))

_CALCULATE = f"""
    CREATE OR REPLACE FUNCTION calculate_storage_usage(tenant uuid) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $body$
        DECLARE
            known tenant;
            total bigint := 0;
            categories jsonb := '{{}}';
            history jsonb;
            moment timestamptz;
            entry bigint := 0;
        BEGIN
            SELECT * INTO known FROM tenant AS t
            WHERE t.tenant_id = calculate_storage_usage.tenant AND t.place IS NOT NULL FOR NO KEY UPDATE;
            IF NOT FOUND THEN
                RAISE no_data_found USING MESSAGE = 'there is no such tenant';
            END IF;
            SELECT u.position INTO entry FROM tenant_usage AS u WHERE u.tenant_id = known.tenant_id FOR UPDATE;
            -- Without counters nothing is locked, so nothing is looked at: the first file may be coming just now.
            IF FOUND THEN
                SELECT coalesce(sum(c.bytes), 0),
                       coalesce(jsonb_object_agg(c.category, jsonb_build_object('bytes', c.bytes, 'files', c.files)),
                                '{{}}')
                INTO total, categories
                FROM (SELECT b.category, sum(b.total_size)::bigint AS bytes, sum(b.file_count)::bigint AS files
                      FROM usage_breakdown AS b
                      WHERE b.tenant_id = known.tenant_id AND (b.file_count, b.total_size) <> (0, 0)
                      GROUP BY b.category) AS c;
            END IF;
            history := cleanup_history(known.tenant_id);
            moment := clock_timestamp();
            IF known.place = 'schema' THEN
                EXECUTE format('INSERT INTO client_%s.storage_management ({_NAMES}) VALUES ($1, $2, $3, $4, $5)
                    ON CONFLICT ((true)) DO UPDATE SET {_ASSIGNED}', known.number)
                USING total, moment, categories, history, known.owner_id;
            ELSE
                INSERT INTO storage_management (tenant_id, {_NAMES})
                VALUES (known.tenant_id, total, moment, categories, history, known.owner_id)
                ON CONFLICT (tenant_id) DO UPDATE SET {_ASSIGNED};
            END IF;
            UPDATE tenant AS t SET calculated_at = moment, calculated_position = coalesce(entry, 0)
            WHERE t.tenant_id = known.tenant_id;
            RETURN total;
        END
        $body$
"""


def upgrade() -> None:
    op.execute("ALTER TABLE tenant ADD calculated_position bigint NOT NULL DEFAULT 0")
    # Alembic takes a colon before a word for a parameter.
    op.get_bind().exec_driver_sql(_CALCULATE)


def downgrade() -> None:
    raise NotImplementedError("counters are not overwritten any more")
