"""`stowage callbacks`: those that were given up, to look at and to have tried again."""

import argparse
import asyncio
import json
import sys
from typing import Any
from uuid import UUID

from services.billing.payments.admin import StoredCallbackOut, WholeCallbackOut
from services.billing.payments.given_up import GivenUp
from services.billing.settings import Settings
from shared.clock import SystemClock
from shared.db import Database
from shared.errors import DomainError
from shared.settings import load

BY = "command line"
SHOWN = 200


async def main(arguments: argparse.Namespace, settings: Settings) -> Any:
    """What to print. Raises DomainError."""
    async with Database(settings.database_url, pool_size=1, application_name="callbacks") as database:
        given_up = GivenUp(database, SystemClock(), lambda: None)  # the workers look every second
        match arguments.action:
            case "list":
                rows = await given_up.list_newest(SHOWN, None, "dead", None)
                return [StoredCallbackOut.of(row).model_dump(mode="json") for row in rows]
            case "show":
                return WholeCallbackOut.of(await given_up.get(arguments.id)).model_dump(mode="json")
            case _:
                return StoredCallbackOut.of(await given_up.replay(arguments.id, BY)).model_dump(mode="json")


def read(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="stowage callbacks", description=__doc__)
    parser.add_argument("action", choices=("list", "show", "replay"))
    parser.add_argument("id", nargs="?", type=UUID, help="which one to show or replay")
    arguments = parser.parse_args(words)
    if arguments.action != "list" and arguments.id is None:
        parser.error(f"{arguments.action} wants the id of a callback")
    return arguments


if __name__ == "__main__":
    try:
        told = asyncio.run(main(read(sys.argv[1:]), load(Settings)))
    except DomainError as error:
        sys.exit(error.detail)
    print(json.dumps(told, indent=2))  # noqa: T201
