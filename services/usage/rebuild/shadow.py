"""Counters folded again, beside the live ones: tables only this connection sees, gone with it."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from services.usage.counters.tally import Amount
from services.usage.rebuild.rules import Difference

PATIENCE = 3600.0  # seconds for everything of every tenant

_COLUMNS = (
    *("tenant_id", "seq", "file_type", "category", "project_id", "owner", "bytes", "files"),
    *("trashed_bytes", "trashed_files", "version_bytes", "version_files"),
    *("image_month", "images"),
)

# Amounts that add up: what a stretch brings is put beside what is there.
_CREATE = """
    CREATE TEMP TABLE rebuild_arrived (
        tenant_id uuid, seq bigint, file_type text, category text, project_id uuid, owner uuid, bytes bigint,
        files bigint, trashed_bytes bigint, trashed_files bigint, version_bytes bigint, version_files bigint,
        image_month date, images bigint
    );
    CREATE TEMP TABLE rebuild_part (LIKE rebuild_arrived);
    CREATE TEMP TABLE rebuild_position (tenant_id uuid PRIMARY KEY, position bigint NOT NULL);
    CREATE TEMP TABLE rebuild_letter (id uuid PRIMARY KEY, tenant_id uuid NOT NULL);
    CREATE TEMP TABLE rebuild_difference (
        tenant_id uuid, position bigint, part text, key text[], ledger_bytes bigint, ledger_files bigint,
        counted_bytes bigint, counted_files bigint
    )
"""
_DROP = "DROP TABLE IF EXISTS rebuild_arrived, rebuild_part, rebuild_position, rebuild_letter, rebuild_difference"

_ADD = """
    WITH arrived AS (DELETE FROM rebuild_arrived RETURNING *), added AS (
        INSERT INTO rebuild_part
        SELECT tenant_id, seq, file_type, category, project_id, owner, $1 * bytes, $1 * files, $1 * trashed_bytes,
            $1 * trashed_files, $1 * version_bytes, $1 * version_files, image_month, $1 * images
        FROM arrived
    )
    INSERT INTO rebuild_position (tenant_id, position) SELECT tenant_id, max(seq) FROM arrived GROUP BY tenant_id
    ON CONFLICT (tenant_id) DO UPDATE SET position = greatest(rebuild_position.position, excluded.position)
"""
_STAND = """
    INSERT INTO rebuild_position (tenant_id, position)
    SELECT * FROM unnest($1::uuid[], $2::bigint[]) ON CONFLICT (tenant_id) DO UPDATE SET position = excluded.position
"""

_RESTORE = """
    WITH standing AS (INSERT INTO rebuild_position SELECT tenant_id, position FROM fold_checkpoint WHERE has_images)
    INSERT INTO rebuild_part
    SELECT c.tenant_id, c.position, p.file_type, p.category, p.project_id, p.owner, p.bytes, p.files, p.trashed_bytes,
        p.trashed_files, p.version_bytes, p.version_files, p.image_month, p.images
    FROM fold_checkpoint AS c, jsonb_populate_recordset(NULL::rebuild_part, c.parts) AS p WHERE c.has_images
"""
_KEEP = """
    INSERT INTO fold_checkpoint (tenant_id, position, parts, has_images)
    SELECT tenant_id, r.position, coalesce(jsonb_agg(to_jsonb(p) - 'tenant_id') FILTER (WHERE p.tenant_id IS NOT NULL),
        '[]'), true
    FROM rebuild_position AS r LEFT JOIN fold_checkpoint AS c USING (tenant_id) LEFT JOIN (
        SELECT tenant_id, file_type, category, project_id, owner, sum(bytes) AS bytes, sum(files) AS files,
            sum(trashed_bytes) AS trashed_bytes, sum(trashed_files) AS trashed_files,
            sum(version_bytes) AS version_bytes, sum(version_files) AS version_files, image_month, sum(images) AS images
        FROM rebuild_part GROUP BY tenant_id, file_type, category, project_id, owner, image_month
        HAVING (sum(bytes), sum(files), sum(trashed_files), sum(version_files), sum(images)) <> (0, 0, 0, 0, 0)
    ) AS p USING (tenant_id)
    WHERE $1 OR r.position IS DISTINCT FROM c.position OR NOT c.has_images
    GROUP BY tenant_id, r.position
    ON CONFLICT (tenant_id) DO UPDATE
    SET position = excluded.position, parts = excluded.parts, has_images = true
"""

_LETTERS = """
    INSERT INTO rebuild_letter (id, tenant_id)
    SELECT l.id, l.tenant_id FROM dead_letter AS l JOIN tenant_usage AS u ON u.tenant_id = l.tenant_id
    WHERE l.group_name = 'usage' AND l.topic = 'files.v1' AND l.left_out AND l.resolved_at IS NULL
        AND l.seq <= u.position AND ($1::uuid IS NULL OR l.tenant_id = $1)
"""
_APART = """
    SELECT u.tenant_id, coalesce(p.position, 0) AS folded, u.position AS counted
    FROM tenant_usage AS u LEFT JOIN rebuild_position AS p ON p.tenant_id = u.tenant_id
    WHERE u.position <> coalesce(p.position, 0) AND ($1::uuid IS NULL OR u.tenant_id = $1)
    ORDER BY u.tenant_id
"""

# Only where both stand at the same entry: a ledger that ends before the counters proves nothing about them. What is
# forgotten of a tenant that is gone is no difference.
_COMPARE = """
    WITH asked AS (
        SELECT u.* FROM tenant_usage AS u LEFT JOIN rebuild_position AS p ON p.tenant_id = u.tenant_id
        WHERE u.position = coalesce(p.position, 0) AND ($1::uuid IS NULL OR u.tenant_id = $1)
            AND NOT EXISTS (SELECT FROM tenant AS t WHERE t.tenant_id = u.tenant_id AND t.deleted_at IS NOT NULL)
    ), ledger AS (
        SELECT tenant_id, 'total' AS part, '{}'::text[] AS key, sum(bytes) AS bytes, sum(files) AS files
        FROM rebuild_part GROUP BY tenant_id
        UNION ALL SELECT tenant_id, 'trash', '{}', sum(trashed_bytes), sum(trashed_files)
        FROM rebuild_part GROUP BY tenant_id
        UNION ALL SELECT tenant_id, 'versions', '{}', sum(version_bytes), sum(version_files)
        FROM rebuild_part GROUP BY tenant_id
        UNION ALL SELECT tenant_id, 'kind', ARRAY[file_type, category], sum(bytes), sum(files)
        FROM rebuild_part WHERE image_month IS NULL GROUP BY tenant_id, file_type, category
        UNION ALL SELECT tenant_id, 'project', ARRAY[project_id::text], sum(bytes), sum(files)
        FROM rebuild_part WHERE project_id <> $2 GROUP BY tenant_id, project_id
        UNION ALL SELECT tenant_id, 'user', ARRAY[owner::text], sum(bytes), sum(files)
        FROM rebuild_part WHERE owner IS NOT NULL GROUP BY tenant_id, owner
        UNION ALL SELECT tenant_id, h.part, k.key, sum(h.bytes), sum(h.files)
        FROM rebuild_part, LATERAL (VALUES
            ('trash', trashed_bytes, trashed_files), ('versions', version_bytes, version_files)
        ) AS h(part, bytes, files), LATERAL (VALUES
            (ARRAY['kind', file_type, category]), (ARRAY['project', nullif(project_id, $2)::text]),
            (ARRAY['user', owner::text])
        ) AS k(key)
        WHERE (trashed_bytes, trashed_files, version_bytes, version_files) <> (0, 0, 0, 0)
            AND (h.bytes, h.files) <> (0, 0) AND k.key[2] IS NOT NULL
        GROUP BY tenant_id, h.part, k.key
        UNION ALL SELECT tenant_id, 'images', ARRAY[to_char(image_month, 'YYYY-MM')], 0, sum(images)
        FROM rebuild_part WHERE image_month IS NOT NULL GROUP BY tenant_id, image_month
    ), counted AS (
        SELECT tenant_id, 'total' AS part, '{}'::text[] AS key, bytes, files FROM asked
        UNION ALL SELECT tenant_id, 'trash', '{}', trashed_bytes, trashed_files FROM asked
        UNION ALL SELECT tenant_id, 'versions', '{}', version_bytes, version_files FROM asked
        UNION ALL SELECT b.tenant_id, 'kind', ARRAY[b.file_type, b.category], b.total_size, b.file_count
        FROM usage_breakdown AS b WHERE $1::uuid IS NULL OR b.tenant_id = $1
        UNION ALL SELECT p.tenant_id, 'project', ARRAY[p.project_id::text], p.bytes, p.files
        FROM project_storage AS p WHERE $1::uuid IS NULL OR p.tenant_id = $1
        UNION ALL SELECT w.tenant_id, 'user', ARRAY[w.user_id::text], w.bytes, w.files
        FROM user_usage AS w WHERE $1::uuid IS NULL OR w.tenant_id = $1
        UNION ALL SELECT c.tenant_id, h.part, c.key, h.bytes, h.files
        FROM (
            SELECT tenant_id, ARRAY['kind', file_type, category], trashed_bytes, trashed_files, version_bytes,
                version_files
            FROM usage_breakdown
            UNION ALL SELECT tenant_id, ARRAY['project', project_id::text], trashed_bytes, trashed_files,
                version_bytes, version_files
            FROM project_storage
            UNION ALL SELECT tenant_id, ARRAY['user', user_id::text], trashed_bytes, trashed_files, version_bytes,
                version_files
            FROM user_usage
        ) AS c(tenant_id, key, trashed_bytes, trashed_files, version_bytes, version_files), LATERAL (VALUES
            ('trash', trashed_bytes, trashed_files), ('versions', version_bytes, version_files)
        ) AS h(part, bytes, files)
        WHERE (trashed_bytes, trashed_files, version_bytes, version_files) <> (0, 0, 0, 0)
            AND (h.bytes, h.files) <> (0, 0) AND ($1::uuid IS NULL OR c.tenant_id = $1)
        UNION ALL SELECT m.tenant_id, 'images', ARRAY[to_char(make_date(m.year, m.month, 1), 'YYYY-MM')], 0, m.images
        FROM tenant_month AS m WHERE $1::uuid IS NULL OR m.tenant_id = $1
    )
    INSERT INTO rebuild_difference
    SELECT tenant_id, a.position, part, key, coalesce(l.bytes, 0), coalesce(l.files, 0),
        coalesce(c.bytes, 0), coalesce(c.files, 0)
    FROM ledger AS l FULL JOIN counted AS c USING (tenant_id, part, key) JOIN asked AS a USING (tenant_id)
    WHERE (coalesce(l.bytes, 0), coalesce(l.files, 0)) <> (coalesce(c.bytes, 0), coalesce(c.files, 0))
"""

# Records that were gone past are settled with all they bring, or not at all: their tenants wait for a whole repair.
_ONLY_HIDDEN = """
    DELETE FROM rebuild_difference
    WHERE part NOT IN ('trash', 'versions') OR key = '{}' OR tenant_id IN (SELECT tenant_id FROM rebuild_letter)
"""
_SEEN = """
    SELECT count(*) AS tenants, coalesce(sum(u.position), 0)::bigint AS entries FROM tenant_usage AS u
    LEFT JOIN rebuild_position AS p ON p.tenant_id = u.tenant_id
    WHERE u.position = coalesce(p.position, 0) AND ($1::uuid IS NULL OR u.tenant_id = $1)
"""

# Their letters were replayed since the comparison: they are compared another time.
_SKIP = """
    DELETE FROM rebuild_difference WHERE tenant_id IN (
        SELECT r.tenant_id FROM rebuild_letter AS r JOIN dead_letter AS l ON l.id = r.id
        WHERE l.resolution = 'replayed'
    )
"""
_HOLD_LETTERS = """
    SELECT l.id FROM dead_letter AS l JOIN rebuild_letter AS r ON r.id = l.id WHERE l.resolved_at IS NULL
    ORDER BY l.created_at, l.topic, l.tenant_id, l.seq FOR UPDATE OF l
"""
_SETTLE_LETTERS = """
    UPDATE dead_letter AS l SET resolved_at = now(), resolution = 'replayed', resolved_by = 'rebuild',
        reason = 'counted by a rebuild from the ledger'
    FROM rebuild_letter AS r WHERE l.id = r.id AND l.resolved_at IS NULL
        AND r.tenant_id IN (SELECT tenant_id FROM rebuild_difference)
"""
_PAGE = """
    SELECT * FROM rebuild_difference WHERE tenant_id IN (
        SELECT DISTINCT tenant_id FROM rebuild_difference WHERE tenant_id > $1 ORDER BY tenant_id LIMIT $2
    ) ORDER BY tenant_id, part, key
"""
_DIFFERING = "SELECT count(DISTINCT tenant_id), count(*) FROM rebuild_difference"

NO_PROJECT = UUID(int=0)


class Apart(NamedTuple):
    """A tenant whose ledger is folded up to one entry and counted up to another."""

    tenant_id: UUID
    folded: int
    counted: int


class Shadow:
    """All SQL on it. `tenant`: of this one only."""

    def __init__(self, connection: Any, tenant: UUID | None) -> None:
        self._connection = connection
        self._tenant = tenant

    async def create(self) -> None:
        await self.drop()
        await self._connection.execute(_CREATE)

    async def drop(self) -> None:
        await self._connection.execute(_DROP)

    async def add(self, csv: AsyncIterator[bytes], sign: int = 1) -> None:
        """What stretches of ledgers sum to; with sign -1 it is taken away again."""
        await self._connection.copy_to_table(
            "rebuild_arrived", source=csv, columns=_COLUMNS, format="csv", timeout=PATIENCE
        )
        await self._connection.execute(_ADD, sign, timeout=PATIENCE)

    async def restore(self) -> None:
        """As the last one was kept."""
        await self._connection.execute(_RESTORE, timeout=PATIENCE)

    async def keep(self, *, whole: bool) -> None:
        """For the next one: those that moved; or all, whatever was kept of them before."""
        await self._connection.execute(_KEEP, whole, timeout=PATIENCE)

    async def stand(self, tenants: Sequence[Apart]) -> None:
        """These are folded up to where they are counted."""
        await self._connection.execute(_STAND, [a.tenant_id for a in tenants], [a.counted for a in tenants])

    async def note_letters(self) -> None:
        """Records the counters went past without counting them: the fold has them."""
        await self._connection.execute(_LETTERS, self._tenant)

    async def apart(self) -> list[Apart]:
        return [Apart(*row) for row in await self._connection.fetch(_APART, self._tenant)]

    async def compare(self) -> None:
        await self._connection.execute("ANALYZE rebuild_part")
        await self._connection.execute(_COMPARE, self._tenant, NO_PROJECT, timeout=PATIENCE)

    async def keep_hidden(self) -> None:
        """Of what differs only trash and versions of kinds, projects and people."""
        await self._connection.execute(_ONLY_HIDDEN)

    async def seen(self) -> tuple[int, int]:
        """Tenants compared, and the entries of their ledgers."""
        row = await self._connection.fetchrow(_SEEN, self._tenant)
        return row["tenants"], row["entries"]

    async def count_differing(self) -> tuple[int, int]:
        """Tenants, and figures of theirs."""
        tenants, figures = await self._connection.fetchrow(_DIFFERING)
        return tenants, figures

    async def hold_letters(self) -> None:
        """So that none is replayed while the fold that has it is swapped in."""
        await self._connection.fetch(_HOLD_LETTERS)
        await self._connection.execute(_SKIP)

    async def settle_letters(self) -> None:
        await self._connection.execute(_SETTLE_LETTERS)

    async def page(self, after: UUID, tenants: int) -> list[Difference]:
        """All differences of the next tenants."""
        rows = await self._connection.fetch(_PAGE, after, tenants)
        return [_difference(row) for row in rows]


def _difference(row: Any) -> Difference:
    ledger, counted = (Amount(row[f"{side}_bytes"], row[f"{side}_files"]) for side in ("ledger", "counted"))
    return Difference(row["tenant_id"], row["position"], row["part"], tuple(row["key"]), ledger, counted)
