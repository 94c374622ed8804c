"""`python -m deploy.docker.secrets [FOLDER]`: secrets for docker-compose.yml, made once, in a folder of the owner's alone.

`docker compose --env-file .stowage/compose/environment up` reads them.
"""

import os
import sys
from pathlib import Path

from deploy.local.home import ROLES, SERVICES, ed25519, token, webhook_key, write_private

NAMES = (
    "POSTGRES_PASSWORD",
    *(f"{service}_{role}_PASSWORD".upper() for service in SERVICES for role in ROLES),
    "INTERNAL_SECRET",
    "SIGNING_SECRET",
    "PAYMENT_API_KEY",
    "PAYMENT_SIGNING_SECRETS",
    "ADMIN_PASSWORD",
    "GRAFANA_PASSWORD",
)
