from typing import ClassVar

from pydantic import Field

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    service_name: ClassVar[str] = "billing"
    secrets: ClassVar[tuple[str, ...]] = ("internal_secret", "payment_api_key", "payment_signing_secrets")

    base_url: str
    payment_backend_url: str
    payment_api_key: str = Field(min_length=16)
    payment_signing_secrets: str = Field(min_length=32)  # newest first, separated by commas, while keys rotate
    provider_seconds: float = 10  # for the provider to answer
    janitor_seconds: float = 5  # before the provider is first asked about an open payment; doubles each time

    @property
    def signing_secrets(self) -> list[str]:
        return [part.strip() for part in self.payment_signing_secrets.split(",")]
