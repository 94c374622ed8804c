"""PostgreSQL: one transaction at the edge, scoped to one tenant."""

from shared.db.database import SNAPSHOT, Database, Unit, savepoint, transaction_on
from shared.db.group_commit import GroupCommit
from shared.db.turn import turn

__all__ = ["SNAPSHOT", "Database", "GroupCommit", "Unit", "savepoint", "transaction_on", "turn"]
