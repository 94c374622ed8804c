"""Which processes make a stack, and what each of them is told."""

import json
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

from deploy.local.forks import Forked, Nursery
from deploy.local.home import SERVICES, Home, StackError, write_private
from deploy.local.ports import free_port, is_free
from deploy.local.process import Part

ROOT = Path(__file__).resolve().parents[2]
ADMIN = "admin@stowage.localhost"
# On invoices of a stack that sells nothing.
SELLER = {"name": "Stowage (sample)", "street": "1 Example Street", "city": "Exampleton", "country": "DE"}
PORTS = (
    "postgres",
    "kafka",
    "kafka_controller",
    "console",
    "smtp",
    "payments",
    "gateway:worker",
    *(name for service in ("upload", "usage", "billing") for name in (service, f"{service}:worker")),
)


class Ports:
    """Free ports, the same ones at each start where they are still free."""

    def __init__(self, home: Home, gateway: int) -> None:
        file = home.path / "run" / "ports.json"
        known = _known(file)
        if not is_free(gateway):
            raise StackError(f"port {gateway} is in use; choose another with --port (make up PORT=…)")
        taken = {gateway}
        self._ports = {"gateway": gateway}
        for name in PORTS:
            port = known.get(name, 0)
            while not port or port in taken or not is_free(port):
                port = free_port()
            taken.add(port)
            self._ports[name] = port
        write_private(file, json.dumps(self._ports))

    @classmethod
    def running(cls, home: Home) -> Self:
        """Those of the stack that runs there."""
        found = cls.__new__(cls)
        found._ports = _known(home.path / "run" / "ports.json")  # noqa: SLF001 - its own
        return found

    def __getitem__(self, name: str) -> int:
        return self._ports[name]

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._ports[name]}"


def _known(file: Path) -> dict[str, int]:
    try:
        found: dict[str, int] = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found


class Addresses:
    """Where everything is: for the environment of each process and for `status`."""

    def __init__(self, home: Home, ports: Ports, secrets: Mapping[str, str], postgres: str | None) -> None:
        self._home = home
        self._ports = ports
        self._secrets = secrets
        self._postgres = postgres
        self.kafka = ""  # known once the broker runs

    def database(self, service: str, role: str) -> str:
        where, options = f"127.0.0.1:{self._ports['postgres']}", ""
        if self._postgres is not None:
            given = urlsplit(self._postgres)
            where = f"{given.hostname}:{given.port or 5432}"
            options = f"?{given.query}" if given.query else ""  # for example sslmode
        name = f"{service}_{role}"
        return f"postgresql://{name}:{quote(self._secrets[name])}@{where}/{service}{options}"

    def environment(self, name: str) -> dict[str, str]:
        """Of `upload`, `upload:worker` …: the caller's own, then what this stack says."""
        service, _, worker = name.partition(":")
        ports, secrets = self._ports, self._secrets
        common = {
            "MODE": "local",
            "HOST": "127.0.0.1",
            "PORT": str(ports[name]),
            "DATABASE_URL": self.database(service, "worker" if worker else "app"),
            "KAFKA_BOOTSTRAP": self.kafka,
            "INTERNAL_SECRET": secrets["internal"],
            "LOCAL_TRACES_URL": ports.url("console"),
            "BASE_URL": ports.url("gateway"),
            **{f"{other.upper()}_URL": ports.url(other) for other in SERVICES},
        }
        return {**_inherited(), **common, **self._special(service), **self._fault(name)}

    def _fault(self, name: str) -> dict[str, str]:
        """Where this start of the process is to die: `run/faults.json` says so in crash tests, once."""
        file = self._home.path / "run" / "faults.json"
        try:
            faults: dict[str, str] = json.loads(file.read_text())
        except (OSError, ValueError):
            return {}
        fault = faults.pop(name, None)
        if fault is None:
            return {}
        write_private(file, json.dumps(faults))
        return {"FAULT": fault}

    def _special(self, service: str) -> dict[str, str]:
        secrets = self._secrets
        match service:
            case "gateway":
                return {
                    "JWT_PRIVATE_KEY_FILE": str(self._home.jwt_key),
                    "ADMIN_EMAIL": ADMIN,
                    "ADMIN_PASSWORD": secrets["admin_password"],
                    "SMTP_URL": f"smtp://127.0.0.1:{self._ports['smtp']}",
                    "TRUST_CLIENT_TRACE": "true",
                }
            case "upload":
                return {
                    "LOCAL_STORAGE_PATH": str(self._home.folder("storage").resolve()),
                    "SIGNING_SECRET": secrets["signing"],
                    "MAX_FILE_SIZE": os.environ.get("MAX_FILE_SIZE", str(5 * 1024**3)),
                }
            case "billing":
                return {
                    "INVOICE_SELLER": os.environ.get("INVOICE_SELLER", json.dumps(SELLER)),
                    "INVOICE_FONTS": os.environ.get("INVOICE_FONTS", str(ROOT / ".cache" / "fonts")),
                    "PAYMENT_BACKEND_URL": self._ports.url("payments"),
                    "PAYMENT_API_KEY": secrets["payment_api_key"],
                    "PAYMENT_SIGNING_SECRETS": secrets["payment_signing"],
                }
        return {}

    def payments(self) -> dict[str, str]:
        return {
            **_inherited(),
            "HOST": "127.0.0.1",
            "PORT": str(self._ports["payments"]),
            "PAYMENT_API_KEY": self._secrets["payment_api_key"],
            "PAYMENT_SIGNING_SECRETS": self._secrets["payment_signing"],
            "SANDBOX_HOME": str(self._home.folder("payments").resolve()),
        }

    def console(self) -> dict[str, str]:
        return {
            **_inherited(),
            "PORT": str(self._ports["console"]),
            "SMTP_PORT": str(self._ports["smtp"]),
            "MAIL_DIR": str(self._home.folder("mail").resolve()),
        }


def running_environment(home: Home, state: Mapping[str, Any], service: str) -> dict[str, str]:
    """What the service's worker is told in the stack that runs: for a command beside it."""
    secrets = json.loads(home.secrets_file.read_text())
    addresses = Addresses(home, Ports.running(home), secrets, None)
    addresses.kafka = state["kafka"]
    told = addresses.environment(f"{service}:worker")
    # It may be on a server of the user's own.
    return {**told, "DATABASE_URL": state["postgres_worker"][service]}


def service_parts(home: Home, ports: Ports, addresses: Addresses, nursery: Nursery) -> list[Part]:
    """The console, the sandbox provider, and two processes a service."""
    parts = [
        _part("console", "deploy.local.console.main", home, ports, addresses.console),
        _part("payments", "deploy.sandbox_payments", home, ports, addresses.payments),
    ]
    for service in SERVICES:
        for name, module in ((service, "main"), (f"{service}:worker", "worker")):
            tell = partial(addresses.environment, name)
            part = _part(name, f"services.{service}.{module}", home, ports, tell)
            part.fork = partial(_fork, nursery, part, f"services.{service}.{module}")
            parts.append(part)
    return parts


async def _fork(nursery: Nursery, part: Part, module: str) -> Forked:
    return await nursery.fork(module, part.environment(), part.log)


def _part(name: str, module: str, home: Home, ports: Ports, environment: object) -> Part:
    return Part(
        name=name,
        command=[sys.executable, "-m", module],
        environment=environment,  # type: ignore[arg-type]
        log=home.log(name),
        cwd=ROOT,
        port=ports[name],
        health=f"{ports.url(name)}/readyz",
    )


def _inherited() -> dict[str, str]:
    """The caller's environment without what would speak of another stack."""
    ours = {"DATABASE_URL", "OWNER_DATABASE_URL", "HOST", "PORT", "MODE", "BASE_URL"}
    return {name: value for name, value in os.environ.items() if name not in ours}
