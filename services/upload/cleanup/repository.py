"""All SQL on clean-ups. Runs inside the caller's transaction, which sees one tenant."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.upload.cleanup.rules import Kind

ITEMS = 10_000  # of one plan
CROWD = 300  # pictures that share a part of their hash; of more, each is compared with the LEADERS best ones only
LEADERS = 10

# What must still be so when an item's turn comes, as the row's JSON has it.
_GIVEN = """jsonb_build_object('sha256', f.sha256, 'path', f.path, 'category', f.category,
    'subcategory', f.subcategory, 'metadata', f.metadata, 'trashed_at', f.trashed_at)"""
_SHOWN = "f.version_of IS NULL AND f.trashed_at IS NULL AND f.state = 'ready'"
_OLD = "now() - make_interval(days => $3)"

# Each selects thing_id, name, size, keeps, given. $3 is an age in days.
_SELECTIONS: dict[Kind, str] = {
    "temporary": f"""
        SELECT f.id AS thing_id, f.name, f.size, NULL::uuid AS keeps, jsonb_build_object(f.id, {_GIVEN}) AS given
        FROM stored_file AS f
        WHERE {_SHOWN} AND f.created_at <= {_OLD}
          AND (f.subcategory = 'temporary' OR f.category = 'temporary' OR f.metadata @> '{{"temporary": true}}')
    """,
    "trash": f"""
        SELECT f.id AS thing_id, f.name, f.size, NULL::uuid AS keeps, jsonb_build_object(f.id, {_GIVEN}) AS given
        FROM stored_file AS f WHERE f.trashed_at <= {_OLD}
    """,
    # The oldest of those that are alike stays.
    "duplicates": f"""
        WITH live AS (
            SELECT f.*, {_GIVEN} AS given, first_value(f.id) OVER w AS keeps, first_value({_GIVEN}) OVER w AS kept
            FROM stored_file AS f
            WHERE {_SHOWN} AND f.size > 0 AND $3::int IS NOT NULL
              AND f.id NOT IN (SELECT thing_id FROM cleanup_item WHERE cleanup_id = $1)
            WINDOW w AS (PARTITION BY f.sha256, f.size ORDER BY f.created_at, f.id)
        )
        SELECT id AS thing_id, name, size, keeps, jsonb_build_object(id, given, keeps, kept) AS given
        FROM live WHERE id <> keeps
    """,
    # Alike in all but 3 of the 64 bits of their hash, and in what they show: of neighbours the largest picture stays,
    # then the oldest, and only where it has no better neighbour itself. Two hashes that differ in 3 bits agree in one
    # of four quarters. Where hundreds share one, each is compared with the best of them, and with the best that have
    # just its hash; what is left undecided in such a crowd is seen the next time, when the others have gone.
    "near_duplicates": f"""
        WITH live AS MATERIALIZED (
            SELECT f.id, f.name, f.size, {_GIVEN} AS given, i.phash, i.model,
                row_number() OVER (ORDER BY i.width::bigint * i.height DESC, f.created_at, f.id) AS rank
            FROM stored_file AS f JOIN image AS i ON i.file_id = f.id AND i.sha256 = f.sha256
            WHERE {_SHOWN} AND i.embedding IS NOT NULL AND $3::int IS NOT NULL
              AND f.id NOT IN (SELECT thing_id FROM cleanup_item WHERE cleanup_id = $1)
        ), parts AS MATERIALIZED (
            SELECT id, rank, phash, model, n, bits, count(*) OVER (PARTITION BY model, n, bits) AS sharing,
                row_number() OVER (PARTITION BY model, n, bits ORDER BY rank) AS place
            FROM live CROSS JOIN LATERAL (
                SELECT n, phash >> (16 * n) & 65535 AS bits FROM generate_series(0, 3) AS n UNION ALL SELECT 4, phash
            ) AS p
        ), close AS MATERIALIZED (
            SELECT DISTINCT x.id, y.id AS better, y.rank FROM parts AS x JOIN parts AS y USING (model, n, bits)
            WHERE y.rank < x.rank AND (y.place <= {LEADERS} OR (y.sharing <= {CROWD} AND n < 4))
              AND bit_count((x.phash # y.phash)::bit(64)) <= 3
        ), pairs AS MATERIALIZED (
            SELECT c.* FROM close AS c
            JOIN image AS x ON x.file_id = c.id JOIN image AS y ON y.file_id = c.better
            WHERE x.sha256 <> y.sha256 AND x.embedding <=> y.embedding <= 0.05
        ), chosen AS (
            SELECT DISTINCT ON (id) id, better FROM pairs
            WHERE better NOT IN (SELECT id FROM pairs) ORDER BY id, rank
        )
        SELECT x.id AS thing_id, x.name, x.size, y.id AS keeps,
            jsonb_build_object(x.id, x.given, y.id, y.given) AS given
        FROM chosen AS c JOIN live AS x ON x.id = c.id JOIN live AS y ON y.id = c.better
    """,
    "abandoned": """
        SELECT id AS thing_id, 'upload' AS name, size, NULL::uuid AS keeps, '{}'::jsonb AS given
        FROM reservation WHERE expires_at < now() AND $3::int IS NOT NULL
    """,
    # Made again when somebody asks for them.
    "thumbnails": f"""
        SELECT file_id AS thing_id, 'thumbnails' AS name, sum(bytes)::bigint AS size, NULL::uuid AS keeps,
            jsonb_build_object('unused_since', max(last_used)) AS given
        FROM thumbnail WHERE bytes IS NOT NULL AND last_used <= {_OLD} GROUP BY file_id
    """,
}
_CHOOSE = """
    INSERT INTO cleanup_item (cleanup_id, tenant_id, number, kind, thing_id, name, size, keeps, given)
    SELECT $1, $2, $4 + row_number() OVER (ORDER BY size DESC, thing_id), $5, thing_id, name, size, keeps, given
    FROM ({selection}) AS chosen ORDER BY size DESC, thing_id LIMIT $6
"""
_CREATE = "INSERT INTO cleanup (id, tenant_id, wanted, planned_by, complete) VALUES ($1, $2, $3, $4, true)"
_INCOMPLETE = "UPDATE cleanup SET complete = false WHERE id = $1"
_CLEANUP = """
    SELECT c.*, coalesce(s.kinds, '[]') AS kinds FROM cleanup AS c LEFT JOIN LATERAL (
        SELECT jsonb_agg(to_jsonb(k) ORDER BY kind) AS kinds FROM (
            SELECT kind, count(*) AS items, sum(size)::bigint AS bytes,
                count(*) FILTER (WHERE outcome = 'freed') AS freed,
                coalesce(sum(size) FILTER (WHERE outcome = 'freed'), 0)::bigint AS freed_bytes,
                count(*) FILTER (WHERE outcome = 'changed') AS changed
            FROM cleanup_item WHERE cleanup_id = c.id GROUP BY kind
        ) AS k
    ) AS s ON true
"""
_ONE = f"{_CLEANUP} WHERE c.id = $1"
_NEWEST = f"{_CLEANUP} WHERE c.ended_at IS NOT NULL AND ($1::uuid IS NULL OR c.id < $1) ORDER BY c.id DESC LIMIT $2"
_ITEMS = "SELECT * FROM cleanup_item WHERE cleanup_id = $1 AND number > $2 ORDER BY number LIMIT $3"
_WAITING = "SELECT * FROM cleanup_item WHERE cleanup_id = $1 AND outcome IS NULL ORDER BY number LIMIT $2"
_DECIDE = """
    UPDATE cleanup_item SET outcome = d.outcome FROM unnest($2::int[], $3::text[]) AS d(number, outcome)
    WHERE cleanup_id = $1 AND cleanup_item.number = d.number
"""
_START = "UPDATE cleanup SET started_at = coalesce(started_at, now()) WHERE id = $1 RETURNING started_at < now()"
_END = "UPDATE cleanup SET ended_at = now() WHERE id = $1"
_DROP_THUMBNAILS = """
    WITH unused AS (
        SELECT FROM thumbnail WHERE file_id = $1 HAVING max(last_used) <= $2::timestamptz
    ) DELETE FROM thumbnail WHERE file_id = $1 AND EXISTS (SELECT FROM unused)
"""
_BOOKED = """
    SELECT file_id FROM storage_transaction
    WHERE tenant_id = $1 AND action = 'delete' AND metadata @> $2 AND file_id = ANY($3::uuid[]) AND occurred_at >= $4
"""
_FORGET = """
    DELETE FROM cleanup WHERE (ended_at IS NULL AND planned_at < now() - interval '7 days')
        OR ended_at < now() - interval '1 year'
"""


async def create(connection: Any, cleanup: UUID, tenant: UUID, wanted: dict[str, Any], by: UUID | None) -> None:
    await connection.execute(_CREATE, cleanup, tenant, wanted, by)


async def choose(connection: Any, cleanup: UUID, tenant: UUID, kind: Kind, days: int, chosen: int) -> int:
    """Adds the items of one kind behind the `chosen` first ones; returns how many there are now."""
    statement = _CHOOSE.format(selection=_SELECTIONS[kind])
    done = await connection.execute(statement, cleanup, tenant, days, chosen, kind, ITEMS + 1 - chosen)
    return chosen + int(done.split()[-1])


async def cut(connection: Any, cleanup: UUID) -> None:
    """There was more than one plan holds."""
    await connection.execute("DELETE FROM cleanup_item WHERE cleanup_id = $1 AND number > $2", cleanup, ITEMS)
    await connection.execute(_INCOMPLETE, cleanup)


async def find(connection: Any, cleanup: UUID) -> Any | None:
    return await connection.fetchrow(_ONE, cleanup)


async def list_ended(connection: Any, limit: int, before: UUID | None) -> list[Any]:
    """Newest first."""
    return list(await connection.fetch(_NEWEST, before, limit))


async def list_items(connection: Any, cleanup: UUID, after: int, limit: int) -> list[Any]:
    return list(await connection.fetch(_ITEMS, cleanup, after, limit))


async def list_waiting(connection: Any, cleanup: UUID, limit: int) -> list[Any]:
    """Items that nothing has become of yet."""
    return list(await connection.fetch(_WAITING, cleanup, limit))


async def start(connection: Any, cleanup: UUID) -> bool:
    """Whether it had been started before."""
    return bool(await connection.fetchval(_START, cleanup))


async def decide(connection: Any, cleanup: UUID, outcomes: Sequence[tuple[int, str]]) -> None:
    numbers, words = zip(*outcomes, strict=True)
    await connection.execute(_DECIDE, cleanup, list(numbers), list(words))


async def end(connection: Any, cleanup: UUID) -> None:
    await connection.execute(_END, cleanup)


async def drop_thumbnails(connection: Any, file: UUID, unused_since: datetime) -> bool:
    """False when one was used meanwhile. Their bytes become garbage in the same commit."""
    done = await connection.execute(_DROP_THUMBNAILS, file, unused_since)
    return bool(int(done.split()[-1]))


async def booked(connection: Any, cleanup: Any, files: Sequence[UUID]) -> set[UUID]:
    """Those whose deletion by this clean-up stands in the ledger."""
    mark = {"cleanup": str(cleanup["id"])}
    rows = await connection.fetch(_BOOKED, cleanup["tenant_id"], mark, list(files), cleanup["planned_at"])
    return {row["file_id"] for row in rows}


async def forget_old(connection: Any) -> int:
    """Plans nobody ran for a week, and history older than a year."""
    return int((await connection.execute(_FORGET)).split()[-1])
