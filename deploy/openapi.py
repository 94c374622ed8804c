"""The public API in one document: `python -m deploy.openapi > docs/openapi.json`. Every service's own, as the gateway
shows them; `/internal` is nobody's business.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

_TELL = {
    "MODE": "local",
    "DATABASE_URL": "postgresql://nobody@127.0.0.1/none",
    "KAFKA_BOOTSTRAP": "127.0.0.1:1",
    "INTERNAL_SECRET": "x" * 40,
    "SIGNING_SECRET": "x" * 40,
    "PAYMENT_API_KEY": "x" * 40,
    "PAYMENT_SIGNING_SECRETS": "x" * 40,
    "PAYMENT_BACKEND_URL": "http://127.0.0.1:1",
    "BASE_URL": "http://127.0.0.1:8080",
    "UPLOAD_URL": "http://127.0.0.1:1",
    "USAGE_URL": "http://127.0.0.1:1",
    "BILLING_URL": "http://127.0.0.1:1",
    "GATEWAY_URL": "http://127.0.0.1:1",
}


def document() -> dict[str, Any]:
    """Paths and schemas of all services; a schema of the same name must be the same."""
    merged: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Stowage",
            "version": "1.0.0",
            "description": "Stores the files of many tenants, meters what they use, keeps them within their plan and "
            "bills them. Errors are application/problem+json with a stable `code`.",
        },
        "paths": {},
        "components": {
            "schemas": {},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
        "security": [{"bearer": []}],
    }
    for part in _documents():
        merged["paths"] |= {path: item for path, item in part["paths"].items() if not path.startswith("/internal")}
        for name, schema in part.get("components", {}).get("schemas", {}).items():
            known = merged["components"]["schemas"].setdefault(name, schema)
            if known != schema:
                raise ValueError(f"two services mean different things by {name}")
    merged["paths"] = dict(sorted(merged["paths"].items()))
    merged["components"]["schemas"] = dict(sorted(merged["components"]["schemas"].items()))
    return merged


def _documents() -> list[dict[str, Any]]:
    from services.billing.main import create as billing
    from services.billing.settings import Settings as BillingSettings
    from services.gateway.main import build_parts, create_own_app
    from services.gateway.settings import Settings as GatewaySettings
    from services.upload.main import create as upload
    from services.upload.settings import Settings as UploadSettings
    from services.usage.main import create as usage
    from services.usage.settings import Settings as UsageSettings

    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder) / "jwt.pem"
        key.write_text(_key())
        os.environ.update(_TELL, LOCAL_STORAGE_PATH=folder, JWT_PRIVATE_KEY_FILE=str(key))
        settings = GatewaySettings()
        return [
            create_own_app(settings, build_parts(settings), {}).openapi(),
            upload(UploadSettings()).openapi(),
            usage(UsageSettings()).openapi(),
            billing(BillingSettings()).openapi(),
        ]


def _key() -> str:
    from deploy.local.home import ed25519

    return ed25519()


def main() -> None:
    json.dump(document(), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
