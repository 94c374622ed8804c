"""What an update of the tables has added and only the ledgers know, filled in once, as soon as the new worker runs."""

import logging

from services.usage.rebuild import repository
from services.usage.rebuild.service import Rebuilder
from shared.db import Database, turn

log = logging.getLogger(__name__)

REASON = "hidden"  # trash and versions of each kind, project and person


class Filling:
    """Runs with the worker's role, in one worker, until it has gone through once."""

    def __init__(self, database: Database, rebuilder: Rebuilder) -> None:
        self._database = database
        self._rebuilder = rebuilder

    async def run_when_due(self) -> None:
        """Puts right nothing but what was added: of everything else the night tells."""
        async with turn(self._database, REASON) as connection:
            if connection is None or not await repository.is_wanted(connection, REASON):
                return
            done = (await self._rebuilder.run(None, REASON, repair=True, only_hidden=True)).done
            await repository.settle(connection, REASON)
        log.info("trash and versions: %d tenants, %d filled in", done.tenants, done.repaired)
