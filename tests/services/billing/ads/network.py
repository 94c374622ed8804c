"""An ad network that signs as AdMob does, with keys of its own."""

import base64
import json
import os
from datetime import datetime
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class Network:
    """Publishes its keys at `path` and signs with the newest."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys: dict[int, EllipticCurvePrivateKey] = {}
        self._version = 0
        self.add(1)

    def add(self, key: int) -> None:
        self._keys[key] = generate_private_key(SECP256R1())
        self._publish(list(self._keys))

    def drop(self, key: int) -> None:
        self._publish([known for known in self._keys if known != key])

    def query(self, at: datetime, **said: str) -> bytes:
        told = {
            "ad_network": "5450213213286189855",
            "ad_unit": "1234567890",
            "reward_amount": "1",
            "reward_item": "credits",
            "timestamp": str(int(at.timestamp() * 1000)),
            "transaction_id": uuid4().hex,
            **said,
        }
        text = urlencode(dict(sorted(told.items())))
        key = max(self._keys)
        signature = self._keys[key].sign(text.encode(), ECDSA(SHA256()))
        return f"{text}&signature={base64.urlsafe_b64encode(signature).decode().rstrip('=')}&key_id={key}".encode()

    def _publish(self, keys: list[int]) -> None:
        self.path.write_text(json.dumps({"keys": [{"keyId": key, "pem": self._pem(key)} for key in keys]}))
        # Two writes within one tick of the file system's clock must not look like one.
        self._version += 1
        os.utime(self.path, ns=(self._version, self._version))

    def _pem(self, key: int) -> str:
        public = self._keys[key].public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
