"""`python -m deploy.docker.secrets [FOLDER]`: secrets for docker-compose.yml, made once, for the owner's eyes alone.

`docker compose --env-file .stowage/compose/environment up` reads them. What is there already is kept.
"""

import sys
from base64 import b64encode
from pathlib import Path
from secrets import token_bytes, token_urlsafe

from deploy.local.home import ROLES, SERVICES, ed25519, write_private

NAMES = (
    "POSTGRES_PASSWORD",
    *(f"{service}_{role}_PASSWORD".upper() for service in SERVICES for role in ROLES),
    "INTERNAL_SECRET",
    "SIGNING_SECRET",
    "PAYMENT_API_KEY",
    "PAYMENT_SIGNING_SECRETS",
    "ADMIN_PASSWORD",
    "GRAFANA_PASSWORD",
    "STORE_SECRET_KEY",
)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".stowage/compose")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    file, key = folder / "environment", folder / "jwt.pem"
    kept = file.read_text().splitlines() if file.exists() else []
    there = {line.partition("=")[0] for line in kept}
    # Settings and comments somebody wrote there stay as they are.
    made = {name: _make(name) for name in NAMES} | {"JWT_KEY_FILE": str(key.resolve())}
    lines = [*kept, *(f"{name}={value}" for name, value in made.items() if name not in there)]
    write_private(file, "".join(f"{line}\n" for line in lines))
    if not key.exists():
        write_private(key, ed25519())
    # Mounted as it is, and the gateway there is another user; on this side the folder keeps others out.
    key.chmod(0o644)
    print(file)  # noqa: T201 - this is a command


def _make(name: str) -> str:
    # 36 random bytes, in characters that need no quoting in an address or in SQL.
    return "whsec_" + b64encode(token_bytes(32)).decode() if name == "PAYMENT_SIGNING_SECRETS" else token_urlsafe(36)


if __name__ == "__main__":
    main()
