"""Server-side verification as AdMob's: a GET whose query is signed (ECDSA P-256 and SHA-256, base64url of DER), the
last two parameters being `signature` and `key_id`. `custom_data` is what the start of a view gave out.

Keys are a file as the network publishes it, {"keys": [{"keyId": …, "pem": …}, …]}; it is read again when it changes.
"""

import base64
import binascii
import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from services.billing.credits.errors import VerificationRefused

log = logging.getLogger(__name__)

MAX_QUERY = 4096  # bytes


@dataclass(frozen=True, slots=True)
class Word:
    """What the network says: this view was watched. `at` is its own clock."""

    tenant: UUID
    view: UUID
    transaction: str
    network: str
    key: int
    at: datetime


def custom_data(tenant: UUID, view: UUID) -> str:
    return f"{tenant}.{view}"


class Keys:
    """Of the ad network, by id. Several are valid while they rotate."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at = -1
        self._keys: dict[int, EllipticCurvePublicKey] = {}
        self._refresh()

    def find(self, key_id: int) -> EllipticCurvePublicKey | None:
        try:
            self._refresh()
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.error("the keys of the ad network cannot be read, the old ones stay: %s", error)
        return self._keys.get(key_id)

    def _refresh(self) -> None:
        """Raises OSError, ValueError, KeyError or TypeError."""
        changed = self._path.stat().st_mtime_ns
        if changed != self._read_at:
            listed = json.loads(self._path.read_text())["keys"]
            self._keys = {int(key["keyId"]): _read_key(key["pem"]) for key in listed}
            self._read_at = changed


class Verifier:
    def __init__(self, path: Path) -> None:
        """Raises OSError, ValueError, KeyError or TypeError when there are no keys to begin with."""
        self._keys = Keys(path)

    def read(self, query: bytes) -> Word:
        """`query` as it came, to the byte: it is what was signed. Raises VerificationRefused."""
        signed, _, tail = query.partition(b"&signature=")
        signature, _, key_text = tail.partition(b"&key_id=")
        key_id = int(key_text) if key_text.isdigit() and len(key_text) < 19 else -1
        key = self._keys.find(key_id) if len(query) <= MAX_QUERY else None
        if key is None or not _is_signed(key, signed, signature):
            raise VerificationRefused(401, "The signature does not match.")
        try:
            return _word(signed, key_id)
        except (KeyError, ValueError, OverflowError) as error:
            raise VerificationRefused(422, "The query does not say which view it is about.") from error


def _read_key(pem: str) -> EllipticCurvePublicKey:
    key = load_pem_public_key(pem.encode())
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("wanted: a public key on P-256")  # noqa: TRY004 - it is the file that is wrong
    return key


def _is_signed(key: EllipticCurvePublicKey, signed: bytes, signature: bytes) -> bool:
    try:
        raw = base64.b64decode(signature.rstrip(b"=") + b"=" * (-len(signature.rstrip(b"=")) % 4), b"-_", validate=True)
        key.verify(raw, signed, ECDSA(SHA256()))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _word(signed: bytes, key: int) -> Word:
    """Raises KeyError, ValueError or OverflowError."""
    said = parse_qs(signed.decode(), strict_parsing=True, max_num_fields=32)
    (data,), (transaction,), (stamp,) = said["custom_data"], said["transaction_id"], said["timestamp"]
    tenant, view = map(UUID, data.split("."))
    if not 1 <= len(transaction) <= 200:
        raise ValueError("transaction_id")
    at = datetime.fromtimestamp(int(stamp) / 1000, UTC)
    return Word(tenant, view, transaction, said.get("ad_network", [""])[0][:64], key, at)
