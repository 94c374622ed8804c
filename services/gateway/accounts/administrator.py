"""The platform's first administrator, who comes from the environment and not through the door."""

import logging

from services.gateway.accounts import rules
from services.gateway.accounts.passwords import Passwords
from services.gateway.accounts.repository import AccountRepository
from shared.clock import Clock
from shared.db import Database
from shared.ids import new_id

log = logging.getLogger(__name__)

_PROMOTE = "UPDATE profile SET is_admin = true, updated_at = $2 WHERE user_id = $1 AND NOT is_admin"


async def ensure_administrator(
    database: Database, passwords: Passwords, clock: Clock, email: str, password: str
) -> None:
    """Makes the account if there is none, and an administrator of it; the worker's role alone may do that.

    An existing account keeps its password: a setting that lingers must not undo a change. Safe to run in several
    processes at once. Without an address nothing happens.
    """
    if not email:
        return
    address = rules.normalise_email(email)
    rules.check_password(password, email=address)
    now = clock.now()
    async with database.transaction() as connection:
        accounts = AccountRepository(connection)
        found = await accounts.find_password(address)
        if found is None:
            user = new_id()
            # Two workers may get here together: one inserts, the other finds.
            if await accounts.insert(user, address, await passwords.hash(password), now):
                await accounts.insert_profile(user, "Administrator", "en", now)
            found = await accounts.find_password(address)
        if found is not None and (await connection.execute(_PROMOTE, found[0], now)).endswith(" 1"):
            log.info("the platform administrator is ready")
