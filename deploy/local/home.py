"""The folder everything of one stack lives in, and its secrets."""

import json
import os
import secrets
import shutil
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVICES = ("gateway", "upload", "usage", "billing")
ROLES = ("owner", "app", "worker")
_STATE = {"url", "ready", "pid", "created", "services"}  # without these a state tells nothing
MINIMUM_FREE = 200 * 1024 * 1024  # bytes; below this PostgreSQL and Kafka cannot be trusted to start


class StackError(Exception):
    """One clear line for the person at the terminal."""


@dataclass(frozen=True)
class Home:
    """Paths below `--home`; the folder is private to its owner."""

    path: Path

    @property
    def secrets_file(self) -> Path:
        return self.path / "secrets.json"

    @property
    def state_file(self) -> Path:
        return self.path / "run" / "state.json"

    @property
    def jwt_key(self) -> Path:
        return self.path / "jwt.pem"

    def folder(self, name: str) -> Path:
        found = self.path / name
        found.mkdir(mode=0o700, exist_ok=True)
        return found

    def log(self, name: str) -> Path:
        return self.path / "logs" / f"{name.replace(':', '-')}.log"

    def prepare(self) -> None:
        """Raises StackError when nothing can live here."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            # What a running database was given of it stays: a second start must not close the door behind the first.
            self.path.chmod(self.path.stat().st_mode & 0o710 | 0o700)
            for name in ("run", "logs", "mail", "storage", "payments"):
                self.folder(name)
            probe = self.path / "run" / "probe"
            probe.write_text("writable")
            probe.unlink()
        except OSError as error:
            raise StackError(f"{self.path} cannot be used: {error.strerror}") from error
        if shutil.disk_usage(self.path).free < MINIMUM_FREE:
            raise StackError(f"the disk of {self.path} is full: at least {MINIMUM_FREE // 2**20} MB must be free")

    def secrets(self) -> dict[str, str]:
        """Generated on the first start, readable by the owner alone."""
        if self.secrets_file.exists():
            try:
                found: dict[str, str] = json.loads(self.secrets_file.read_text())
                if "postgres" not in found:  # a new one would not open the data that is there
                    raise ValueError("incomplete")
            except (OSError, ValueError, TypeError) as error:
                raise StackError(f"{self.secrets_file} is broken; `stowage reset` starts afresh") from error
        else:
            found = {}
        missing = {name: make() for name, make in _WANTED.items() if name not in found}
        if missing:  # all of them, or those a newer version added
            found |= missing
            write_private(self.secrets_file, json.dumps(found, indent=2))
        if not self.jwt_key.exists():
            write_private(self.jwt_key, ed25519())
        return found

    def read_state(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(self.state_file.read_text())
            if not _STATE.issubset(found):
                raise ValueError("incomplete")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, TypeError) as error:
            raise StackError(f"{self.state_file} is broken; `stowage down` or `stowage reset` removes it") from error
        return found

    def write_state(self, state: dict[str, Any]) -> None:
        write_private(self.state_file, json.dumps(state, indent=2))


def write_private(path: Path, text: str) -> None:
    """Whole or not at all, and never readable by others, not even for a moment."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    part.replace(path)


def _token() -> str:
    return secrets.token_urlsafe(36)


def ed25519() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return (
        Ed25519PrivateKey.generate()
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


_WANTED: dict[str, Callable[[], str]] = {
    "postgres": _token,
    **{f"{service}_{role}": _token for service in SERVICES for role in ROLES},
    "internal": _token,
    "signing": _token,
    "payment_api_key": _token,
    "payment_signing": lambda: "whsec_" + b64encode(secrets.token_bytes(32)).decode(),
    "admin_password": lambda: secrets.token_urlsafe(18),
}
