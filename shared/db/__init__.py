"""PostgreSQL: one transaction at the edge, scoped to one tenant."""

from shared.db.database import Database, Unit, savepoint

__all__ = ["Database", "Unit", "savepoint"]
