"""`stowage dead-letters`: those of all services of the stack, or of one."""

import argparse
import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from deploy.local.home import StackError
from shared.db import Database
from shared.dead_letters.errors import DeadLetterNotFound
from shared.dead_letters.schemas import DeadLetterOut, DiscardIn, WholeDeadLetterOut
from shared.dead_letters.service import DeadLetterService
from shared.errors import DomainError

BY = "command line"
SHOWN = 200  # of each service

Letters = Mapping[str, DeadLetterService]  # by service


def main(arguments: argparse.Namespace, state: Mapping[str, Any]) -> int:
    """Raises StackError."""
    _check(arguments)
    try:
        return asyncio.run(_main(arguments, state["postgres_worker"]))
    except DomainError as error:
        raise StackError(error.detail) from None


def _check(arguments: argparse.Namespace) -> None:
    action, letter, reason = arguments.action, arguments.id, arguments.reason
    if action == "replay" and (letter is None) != arguments.all:
        raise StackError("replay wants either the id of a dead letter or --all")
    if action in {"show", "discard"} and letter is None:
        raise StackError(f"{action} wants the id of a dead letter")
    if action == "discard":
        try:
            DiscardIn(reason=reason)
        except ValueError:
            raise StackError("discard wants a --reason of 1 to 500 characters") from None


async def _main(arguments: argparse.Namespace, databases: Mapping[str, str]) -> int:
    wanted = {arguments.service: databases[arguments.service]} if arguments.service else databases
    async with _open(wanted) as letters:
        match arguments.action:
            case "list":
                await _list(letters, as_json=arguments.json)
            case "show":
                name, row = await _find(letters, arguments.id)
                _show(name, WholeDeadLetterOut.of(row), as_json=arguments.json)
            case "replay" if arguments.all:
                asked = {name: await service.replay_all(None, BY) for name, service in letters.items()}
                _say(asked, [f"{name}: {count} to be replayed" for name, count in asked.items()], arguments)
            case "replay":
                name, _ = await _find(letters, arguments.id)
                row = await letters[name].replay(arguments.id, BY)
                _tell(
                    name, row, f"to be replayed; `stowage dead-letters show {arguments.id}` says how it went", arguments
                )
            case "discard":
                name, _ = await _find(letters, arguments.id)
                row = await letters[name].discard(arguments.id, BY, arguments.reason.strip())
                _tell(name, row, "discarded", arguments)
    return 0


@contextlib.asynccontextmanager
async def _open(databases: Mapping[str, str]) -> AsyncIterator[Letters]:
    async with contextlib.AsyncExitStack() as stack:
        found = {}
        for name, dsn in databases.items():
            database = await stack.enter_async_context(Database(dsn, pool_size=1, application_name="dead-letters"))
            found[name] = DeadLetterService(database, lambda: None)  # the workers look every second
        yield found


async def _find(letters: Letters, letter: UUID) -> tuple[str, Any]:
    """Which service has it, and the letter. Raises DeadLetterNotFound."""
    for name, service in letters.items():
        with contextlib.suppress(DeadLetterNotFound):
            return name, await service.get(letter)
    raise DeadLetterNotFound


async def _list(letters: Letters, *, as_json: bool) -> None:
    """Those that wait, newest first, by service."""
    found = {name: await service.list_newest(SHOWN, None, None, "waiting") for name, service in letters.items()}
    told = [(name, DeadLetterOut.of(row)) for name, rows in found.items() for row in rows]
    if as_json:
        print(json.dumps([_json(name, letter) for name, letter in told], indent=2))
        return
    for name, letter in told:
        print(_line(name, letter))
    for name, rows in found.items():
        if len(rows) == SHOWN:
            print(f"{name}: the newest {SHOWN} are shown")
    if not told:
        print("no dead letters wait")


def _line(name: str, letter: DeadLetterOut) -> str:
    asked = "   to be replayed" if letter.replay_requested_at else ""
    tries = f"   replayed {letter.attempts} times" if letter.attempts else ""
    return (
        f"{letter.id}   {letter.created_at:%Y-%m-%d %H:%M:%S}   {name:<7}   {letter.topic}[{letter.partition}]"
        f"@{letter.offset}   {letter.type or 'no type'} {letter.seq or '-'} of {letter.tenant_id or 'nobody'}"
        f"{'' if letter.replayable else '   cannot be replayed'}{tries}{asked}\n    {letter.error.splitlines()[0]}"
    )


def _show(name: str, letter: WholeDeadLetterOut, *, as_json: bool) -> None:
    told = _json(name, letter)
    if as_json:
        print(json.dumps(told, indent=2))
        return
    for key, value in told.items():
        if value is not None:
            print(f"{key:<20} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")


def _tell(name: str, row: Any, text: str, arguments: argparse.Namespace) -> None:
    _say(_json(name, DeadLetterOut.of(row)), [f"{name}: {arguments.id} {text}"], arguments)


def _say(told: Any, lines: Sequence[str], arguments: argparse.Namespace) -> None:
    print(json.dumps(told, indent=2) if arguments.json else "\n".join(lines))


def _json(name: str, letter: DeadLetterOut) -> dict[str, Any]:
    return {"service": name, **letter.model_dump(mode="json")}
