"""The certificate of an erasure. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

FORMAT = "stowage-erasure-1"


def hash_of_hashes(sha256s: Iterable[str]) -> str:
    """One hash over the hashes of what was removed, in the ledger's order: whoever has the files can check it."""
    digest = hashlib.sha256()
    for sha256 in sha256s:
        digest.update(sha256.encode() + b"\n")
    return digest.hexdigest()


def certificate(
    tenant: str,
    *,
    requested_at: datetime,
    ended_at: datetime,
    removed: Mapping[str, Any],
    ledger: Mapping[str, Any],
    stores: Mapping[str, int],
) -> str:
    """As it is signed: JSON with sorted keys. `stores`: objects of the tenant left in each location."""
    said = {
        "format": FORMAT,
        "tenant_id": tenant,
        "requested_at": requested_at.isoformat(),
        "ended_at": ended_at.isoformat(),
        "removed": dict(removed),
        "ledger": dict(ledger),
        "objects_left": dict(stores),
    }
    return json.dumps(said, sort_keys=True, separators=(",", ":"))
