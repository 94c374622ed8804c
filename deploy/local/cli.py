"""`stowage`: the embedded stack at the command line."""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from deploy.local.hold import end, refuse_second
from deploy.local.home import SERVICES, Home, StackError

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    arguments = _parser().parse_args()
    try:
        sys.exit(arguments.run(arguments))
    except StackError as error:
        sys.exit(f"stowage: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stowage", description="Runs and looks after a Stowage stack on this machine."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        found = commands.add_parser(name, help=text, description=text)
        found.add_argument("--home", type=Path, default=Path(".stowage"), help="the stack's folder (default .stowage)")
        found.set_defaults(run=run)
        return found

    up = command("up", _up, "Start everything and stay until Ctrl-C.")
    up.add_argument("--port", type=_port, default=8080, help="the gateway's port (default 8080)")
    up.add_argument(
        "--broker", choices=("auto", "kafka", "embedded"), default="auto", help="auto: real Kafka if possible"
    )
    up.add_argument("--postgres", metavar="DSN", help="use this server instead of the bundled one")
    up.add_argument("--detach", action="store_true", help="return as soon as it is ready")
    command("down", _down, "End everything.")
    status = command("status", _status, "What runs, and where.")
    status.add_argument("--json", action="store_true", help="for programs")
    logs = command("logs", _logs, "What the processes say.")
    logs.add_argument("service", nargs="?", help="one of them, for example upload or upload:worker")
    logs.add_argument("-f", "--follow", action="store_true", help="keep printing")
    command("reset", _reset, "End everything and delete the stack's folder.")
    demo = command("demo", _demo, "Do the main job on the running stack and say what came of it.")
    demo.add_argument("--folder", default=str(ROOT), help="whose files to upload (default: this project)")
    db = command("db", _db, "Look after the databases.")
    db.add_argument("action", choices=("verify",), help="verify: versions, row security, triggers, functions")
    export = command("export", _export, "Check an archive that was exported; needs no running stack.")
    export.add_argument("action", choices=("verify",))
    export.add_argument("file", help="the ZIP")
    catalogue = command("catalogue", _catalogue, "Check a family of plans; needs no running stack.")
    catalogue.add_argument("action", choices=("check",))
    catalogue.add_argument("family", nargs="?", help="its name, or the path of a folder; all that are shipped without")
    catalogue.add_argument("--currency", help="the installation's (default: CURRENCY, or EUR)")
    storage = command("storage", _storage, "Adopt files that are there already, or move files to another store.")
    storage.add_argument("action", choices=("import", "migrate"))
    storage.add_argument("words", nargs=argparse.REMAINDER, help="see `stowage storage import --help`")
    proof = command("proof", _proof, "Compare ledger, counters and store of a tenant, or of all of them.")
    proof.add_argument("tenant", nargs="?", help="its short name or id")
    proof.add_argument("--json", action="store_true", help="for programs")
    usage = command("usage", _usage, "Add the ledgers up again and put right the counters that differ.")
    usage.add_argument("action", choices=("rebuild",))
    usage.add_argument("tenant", nargs="?", help="its short name or id; all tenants without one")
    usage.add_argument("--dry-run", action="store_true", help="only compare")
    usage.add_argument("--json", action="store_true", help="for programs")
    job = command("job", _job, "What the storage service does by itself: list it, or do one thing now.")
    job.add_argument("action", choices=("list", "run"))
    job.add_argument("name", nargs="?", help="which one to run")
    _add_left_over(command)
    return parser


def _add_left_over(command: Callable[[str, Any, str], argparse.ArgumentParser]) -> None:
    """What could not be worked off, and waits for somebody."""
    letters = command("dead-letters", _dead_letters, "Records that could not be applied: look, replay, discard.")
    letters.add_argument("action", choices=("list", "show", "replay", "discard"))
    letters.add_argument("id", nargs="?", type=UUID, help="which one to show, replay or discard")
    letters.add_argument("--all", action="store_true", help="replay all that wait")
    letters.add_argument("--reason", help="why one is discarded, at most 500 characters")
    letters.add_argument("--service", choices=SERVICES, help="of this one only")
    letters.add_argument("--json", action="store_true", help="for programs")
    callbacks = command("callbacks", _callbacks, "Payment callbacks that were given up: look, replay.")
    callbacks.add_argument("action", choices=("list", "show", "replay"))
    callbacks.add_argument("id", nargs="?", type=UUID, help="which one to show or replay")


def _port(text: str) -> int:
    if text.isdecimal() and 0 < int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text} is no port: 1 to 65535")


def _up(arguments: argparse.Namespace) -> int:
    home = Home(arguments.home)
    if arguments.detach:
        return _detach(arguments, home)
    from deploy.local import supervisor

    return supervisor.main(home, port=arguments.port, broker=arguments.broker, postgres_dsn=arguments.postgres)


def _detach(arguments: argparse.Namespace, home: Home) -> int:
    home.prepare()
    refuse_second(home)
    home.read_state()
    log = home.log("supervisor")
    log.unlink(missing_ok=True)
    command = [sys.executable, "-m", "deploy.local.cli", "up", "--home", str(home.path.resolve())]
    command += ["--port", str(arguments.port), "--broker", arguments.broker]
    command += ["--postgres", arguments.postgres] if arguments.postgres else []
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd=ROOT
        )
    shown = 0
    while True:
        code = process.poll()
        text = log.read_text(errors="replace")
        for line in text[shown:].splitlines(keepends=True):
            if line.endswith("\n"):
                shown += len(line)
                print(line, end="", flush=True, file=sys.stderr if line.startswith("stowage:") else sys.stdout)
        if code is not None:
            return code
        state = home.read_state()
        if state is not None and state["ready"] and state["pid"] == process.pid:
            return 0
        time.sleep(0.1)


def _down(arguments: argparse.Namespace) -> int:
    from deploy.local.process import kill_orphans

    home = Home(arguments.home)
    try:
        state = home.read_state()
    except StackError as error:
        state = None
        home.state_file.unlink()
        print(f"removed: {error}")
    ran = end(home)
    left = kill_orphans(state["services"]) if state is not None else 0
    if left:
        print(f"{left} left behind by a killed supervisor were ended")
    home.state_file.unlink(missing_ok=True)
    print("stopped" if ran or left else "nothing runs")
    return 0


def running_state(home: Home) -> dict[str, Any]:
    """Raises StackError when nothing runs."""
    from deploy.local.process import is_alive

    state = home.read_state()
    if state is None or not is_alive(state["pid"], state["created"]):
        raise StackError(f"nothing runs in {home.path}: start it with `make up` or `stowage up`")
    return state


def _status(arguments: argparse.Namespace) -> int:
    home = Home(arguments.home)
    state = running_state(home)
    if arguments.json:
        print(json.dumps(state, indent=2))
        return 0
    print(f"{state['url']}   {'ready' if state['ready'] else 'starting'}   broker: {state['broker']}")
    print(f"mail {state['mail_url']}   traces {state['traces_url']}   payments {state['payments_url']}")
    print(f"administrator {state['admin']['email']}   password: see {home.secrets_file}")
    for entry in state["services"]:
        print(
            f"  {entry['name']:<16} {entry['state']:<11} pid {entry['pid'] or '-':<8} port {entry['port'] or '-':<6} "
            f"restarts {entry['restarts']}"
        )
    return 0


def _logs(arguments: argparse.Namespace) -> int:
    home = Home(arguments.home)
    every = sorted((home.path / "logs").glob("*.log"))
    files = [home.log(arguments.service)] if arguments.service else every
    if not files or not all(file.exists() for file in files):
        known = ", ".join(file.stem for file in every)
        raise StackError(f"no log of {arguments.service or 'anything'}; there are: {known or 'none'}")
    follow = ["-f"] if arguments.follow else []
    return subprocess.run(["tail", "-n", "100", *follow, *map(str, files)], check=False).returncode


def _reset(arguments: argparse.Namespace) -> int:
    from deploy.local.postgres import outside

    home = Home(arguments.home)
    if not home.path.exists():
        print(f"there is no {home.path}")
        return 0
    if not home.path.is_dir() or (not home.secrets_file.exists() and any(home.path.iterdir())):
        raise StackError(f"{home.path} is not a stack's folder: nothing is deleted")
    _down(arguments)
    for folder in (home.path, outside(home)):
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            raise StackError(f"{folder} cannot be deleted")
    print(f"{home.path} is gone")
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from deploy.local import demo

    return demo.main(arguments, running_state(Home(arguments.home)))


def _db(arguments: argparse.Namespace) -> int:
    from deploy.local.verify import verify_all

    problems = asyncio.run(verify_all(running_state(Home(arguments.home))["postgres_owner"]))
    for service, found in problems.items():
        print(f"{service}: {'as it should be' if not found else ''}")
        for problem in found:
            print(f"  {problem}")
    return 1 if any(problems.values()) else 0


def _export(arguments: argparse.Namespace) -> int:
    from services.upload.exports.verify import main as verify

    return verify([arguments.file])


def _catalogue(arguments: argparse.Namespace) -> int:
    from services.billing.catalogue.check import main as check

    return check(arguments.family, arguments.currency or os.environ.get("CURRENCY", "EUR"))


def _job(arguments: argparse.Namespace) -> int:
    name = [arguments.name] if arguments.name else []
    return _beside(Home(arguments.home), "upload", "services.upload.jobs", [arguments.action, *name])


def _proof(arguments: argparse.Namespace) -> int:
    home = Home(arguments.home)
    tenant = [_tenants_id(running_state(home), arguments.tenant)] if arguments.tenant else []
    return _beside(home, "usage", "services.usage.proof", [*tenant, *(["--json"] if arguments.json else [])])


def _usage(arguments: argparse.Namespace) -> int:
    home = Home(arguments.home)
    tenant = [_tenants_id(running_state(home), arguments.tenant)] if arguments.tenant else []
    flags = [flag for flag, told in (("--dry-run", arguments.dry_run), ("--json", arguments.json)) if told]
    return _beside(home, "usage", "services.usage.rebuild", [*tenant, *flags])


def _dead_letters(arguments: argparse.Namespace) -> int:
    from deploy.local import dead_letters

    return dead_letters.main(arguments, running_state(Home(arguments.home)))


def _callbacks(arguments: argparse.Namespace) -> int:
    words = [arguments.action, *([str(arguments.id)] if arguments.id else [])]
    return _beside(Home(arguments.home), "billing", "services.billing.payments.cli", words)


def _storage(arguments: argparse.Namespace) -> int:
    module = {"import": "services.upload.imports", "migrate": "services.upload.relocation"}[arguments.action]
    home = Home(arguments.home)
    return _beside(home, "upload", module, _with_tenants_id(running_state(home), arguments.words))


def _with_tenants_id(state: Mapping[str, Any], words: list[str]) -> list[str]:
    if "--tenant" not in words[:-1]:
        return words
    place = words.index("--tenant") + 1
    return [*words[:place], _tenants_id(state, words[place]), *words[place + 1 :]]


def _tenants_id(state: Mapping[str, Any], tenant: str) -> str:
    """Services know tenants by their ids only; people know them by their short names."""
    from uuid import UUID

    try:
        return str(UUID(tenant))
    except ValueError:
        return asyncio.run(_tenant_called(state["postgres_worker"]["gateway"], tenant))


async def _tenant_called(dsn: str, slug: str) -> str:
    import asyncpg

    connection: Any = await asyncpg.connect(dsn)
    try:
        found = await connection.fetchval("SELECT id FROM tenant WHERE slug = $1", slug)
    finally:
        await connection.close()
    if found is None:
        raise StackError(f"there is no tenant {slug}")
    return str(found)


def _beside(home: Home, service: str, module: str, words: list[str]) -> int:
    """A command of a service in a process of its own, told what the service's running worker was told."""
    from deploy.local.parts import running_environment

    told = running_environment(home, running_state(home), service)
    return subprocess.run([sys.executable, "-m", module, *words], env=told, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    main()
