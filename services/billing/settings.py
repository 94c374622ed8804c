import base64
import binascii
from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    service_name: ClassVar[str] = "billing"
    secrets: ClassVar[tuple[str, ...]] = ("internal_secret", "payment_api_key", "payment_signing_secrets")

    base_url: str
    plan_catalogue: str = "default"  # the family of plans that is sold: a folder of catalogue/
    payment_backend_url: str
    payment_api_key: str = Field(min_length=16)
    payment_signing_secrets: str  # newest first, separated by commas, while keys rotate
    provider_seconds: float = Field(default=10, gt=0)  # for the provider to answer
    # Before the provider is first asked about an open payment; doubles each time.
    janitor_seconds: float = Field(default=5, gt=0)

    # The ad network's public keys; where it is set, rewards wait for the network's signed word.
    ad_verification_keys: Path | None = None

    @field_validator("ad_verification_keys")
    @classmethod
    def _is_there(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError("there is no such file")
        return value

    @property
    def signing_secrets(self) -> list[str]:
        return [part.strip() for part in self.payment_signing_secrets.split(",")]

    @field_validator("payment_signing_secrets")
    @classmethod
    def _are_keys(cls, value: str) -> str:
        # An empty one, left by a comma too many, would be a key everybody knows.
        for part in value.split(","):
            try:
                key = base64.b64decode(part.strip().removeprefix("whsec_"), validate=True)
            except binascii.Error:
                key = b""
            if len(key) < 24:
                raise ValueError("wanted: whsec_ and base64 of 24 or more random bytes, several separated by commas")
        return value
