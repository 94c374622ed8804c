import base64
import binascii
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode

from services.billing.details.parties import Seller
from services.billing.invoices.rules import number_of
from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    service_name: ClassVar[str] = "billing"
    secrets: ClassVar[tuple[str, ...]] = ("internal_secret", "payment_api_key", "payment_signing_secrets")

    base_url: str
    usage_url: str
    plan_catalogue: str = "default"  # the family of plans that is sold: a folder of catalogue/, or a path to one
    currency: str = Field(default="EUR", pattern=r"^[A-Z]{3}$")  # of prices where none is named
    payment_backend_url: str
    payment_api_key: str = Field(min_length=16)
    payment_signing_secrets: str  # newest first, separated by commas, while keys rotate
    provider_seconds: float = Field(default=10, gt=0)  # for the provider to answer
    # Networks that callbacks may come from, separated by commas; empty: anywhere, for they are signed.
    payment_callback_sources: str = ""
    # Both or neither: without them cards are the external backend's, too.
    stripe_api_key: str = Field(default="", repr=False)
    stripe_webhook_secrets: str = Field(default="", repr=False)  # newest first, separated by commas, while they rotate
    stripe_api_base: str = "https://api.stripe.com"
    # Before the provider is first asked about an open payment; doubles each time.
    janitor_seconds: float = Field(default=5, gt=0)
    invoice_seller: Annotated[Seller | None, NoDecode] = None  # JSON; without it no invoices are issued
    invoice_number: str = "INV-{year}-{number:06}"
    invoice_due_days: int = Field(default=14, ge=0, le=365)
    invoice_fonts: Path = Path("/usr/local/share/fonts/stowage")

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

    @field_validator("invoice_seller", mode="before")
    @classmethod
    def _reads_seller(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return Seller.model_validate_json(value) if value.strip() else None

    @field_validator("invoice_number")
    @classmethod
    def _numbers_invoices(cls, value: str) -> str:
        number_of(value, 1, 2026)
        return value

    @property
    def callback_sources(self) -> list[IPv4Network | IPv6Network]:
        return [ip_network(part.strip()) for part in self.payment_callback_sources.split(",") if part.strip()]

    @property
    def stripe_secrets(self) -> list[str]:
        return [part.strip() for part in self.stripe_webhook_secrets.split(",") if part.strip()]

    @field_validator("payment_callback_sources")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        for part in filter(None, (part.strip() for part in value.split(","))):
            ip_network(part)  # its ValueError says what is wrong
        return value

    @model_validator(mode="after")
    def _stripe_is_whole(self) -> "Settings":
        if bool(self.stripe_api_key) != bool(self.stripe_webhook_secrets):
            raise ValueError("STRIPE_API_KEY and STRIPE_WEBHOOK_SECRETS: both or neither")
        if any(len(secret) < 16 for secret in self.stripe_secrets) or (
            self.stripe_webhook_secrets and not self.stripe_secrets
        ):
            raise ValueError("STRIPE_WEBHOOK_SECRETS: wanted: whsec_…, several separated by commas")
        return self

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
