"""The SQL of one page of a list: never more work than SCAN rows, however many files there are.

Sort and the most telling filter choose an index, in whose order the rows are walked from the cursor on; the other
filters are tried on them. After SCAN rows that did not match, the page ends short, with a cursor to go on from.
Row security lets only leakproof functions into an index condition: comparisons are, LIKE and array operators are not,
so no trigram index could serve `name` here.
"""

from collections.abc import Mapping
from typing import Any

from services.upload.files.listing import KEYS, Filters, Listed, Position
from services.upload.files.models import StoredFile

SCAN = 10_000

# Where a folder has two indexes, the planner may take the wrong one and sort all that is in the folder.
_IN_ORDER = "SET LOCAL enable_sort = off; SET LOCAL enable_incremental_sort = off"

_SHOWN = "version_of IS NULL AND trashed_at IS NULL"
_TRASH = "version_of IS NULL AND trashed_at IS NOT NULL"
_EQUAL = {
    "entity_id": "entity_id",
    "project_id": "project_id",
    "folder": 'folder COLLATE "C"',
    "category": "category",
    "type": "file_type",
}
_TEXTS = frozenset({"sort_name", "folder"})


class _Statement:
    """Conditions with their values: those an index serves, and those tried on what it gives."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.indexed: list[str] = []
        self.tried: list[str] = []
        self.walked = 0  # values of the indexed conditions, which come first

    def value(self, value: Any) -> str:
        self.values.append(value)
        return f"${len(self.values)}"


async def read_page(connection: Any, filters: Filters, position: Position, limit: int) -> Listed:
    """Inside the caller's transaction, which sees one tenant."""
    await connection.execute(_IN_ORDER)
    statement = _build(filters, position)
    order, walked = _order(position), _walk(statement, position)
    tried = " AND ".join(statement.tried) or "true"
    sql = (
        f"SELECT to_jsonb(s) AS file FROM ({walked} LIMIT {SCAN}) AS s WHERE {tried} ORDER BY {order} LIMIT {limit + 1}"
    )
    rows = [row["file"] for row in await connection.fetch(sql, *statement.values)]
    files = [StoredFile.read(row) for row in rows[:limit]]
    if len(rows) > limit:
        return Listed(files, position.past(rows[limit - 1]))
    # The conditions tried are not in this one: where did the walk end, if it was cut short?
    used = statement.values[: statement.walked]
    last = await connection.fetchval(f"SELECT to_jsonb(s) FROM ({walked} OFFSET {SCAN - 1} LIMIT 1) AS s", *used)
    return Listed(files, None if last is None else position.past(last))


def _walk(statement: _Statement, position: Position) -> str:
    return f"SELECT * FROM stored_file WHERE {' AND '.join(statement.indexed)} ORDER BY {_order(position)}"


def _build(filters: Filters, position: Position) -> _Statement:
    """The values of the indexed conditions come first."""
    statement = _Statement()
    statement.indexed.append(_TRASH if filters.trash else _SHOWN)
    driver = _driver(filters, position.sort)
    said = filters.model_dump()
    if driver in _EQUAL:
        statement.indexed.append(f"{_EQUAL[driver]} = {statement.value(said[driver])}")
    elif driver == "state":
        statement.indexed.append("state <> 'ready'")
    if position.sort == "folder" and filters.prefix:
        # 0 follows the slash.
        statement.indexed += _bounded(statement, position, _EQUAL["folder"], filters.prefix, f"{filters.prefix}0")
    if position.sort == "created_at":
        bounds = filters.uploaded_after, filters.uploaded_before
        statement.indexed += _bounded(statement, position, "created_at", *bounds)
    if position.after is not None:
        columns = ", ".join(_columns(position))
        values = ", ".join(statement.value(value) for value in position.after)
        statement.indexed.append(f"({columns}) {'<' if position.descending else '>'} ({values})")
    statement.walked = len(statement.values)
    _try(statement, filters, driver, position.sort)
    return statement


def _driver(filters: Filters, sort: str) -> str | None:
    """The filter whose index has the list's order."""
    if filters.trash:
        return None
    if sort == "name":
        return "folder" if filters.folder is not None else None
    if sort != "created_at":
        return None
    if filters.state != "ready":
        return "state"
    said = filters.model_dump()
    return next((name for name in _EQUAL if said[name] is not None), None)


def _try(statement: _Statement, filters: Filters, driver: str | None, sort: str) -> None:
    said: Mapping[str, Any] = filters.model_dump()
    for name, column in {**_EQUAL, "subcategory": "subcategory"}.items():
        if name != driver and said[name] is not None:
            statement.tried.append(f"{column} = {statement.value(said[name])}")
    if not filters.trash or filters.state != "ready":
        statement.tried.append(f"state = {statement.value(filters.state)}")
    if filters.name is not None:
        statement.tried.append(f"sort_name LIKE lower({statement.value(_pattern(filters.name))} COLLATE pg_c_utf8)")
    if filters.prefix:
        prefix = statement.value(filters.prefix)
        statement.tried.append(f"(folder = {prefix} OR starts_with(folder, {prefix} || '/'))")
    if sort != "created_at":
        statement.tried += _between(statement, filters)


def _bounded(statement: _Statement, position: Position, column: str, low: Any, high: Any) -> list[str]:
    """From `low` to before `high`, either None. Past a cursor the bound the walk came from goes without saying, and
    must: PostgreSQL may begin at it instead of at the cursor.
    """
    came_from_high = position.after is not None and position.descending
    came_from_low = position.after is not None and not position.descending
    found = []
    if low is not None and not came_from_low:
        found.append(f"{column} >= {statement.value(low)}")
    if high is not None and not came_from_high:
        found.append(f"{column} < {statement.value(high)}")
    return found


def _between(statement: _Statement, filters: Filters) -> list[str]:
    found = []
    if filters.uploaded_after is not None:
        found.append(f"created_at >= {statement.value(filters.uploaded_after)}")
    if filters.uploaded_before is not None:
        found.append(f"created_at < {statement.value(filters.uploaded_before)}")
    return found


def _columns(position: Position) -> list[str]:
    columns = [f'{name} COLLATE "C"' if name in _TEXTS else name for name in KEYS[position.sort][0]]
    return [*columns, "id"]


def _order(position: Position) -> str:
    direction = "DESC" if position.descending else "ASC"
    return ", ".join(f"{column} {direction}" for column in _columns(position))


def _pattern(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
