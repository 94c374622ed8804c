import re
from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from shared.settings import ServiceSettings

# Scheme, host and port as a browser writes them: nothing behind, not even a slash.
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?|\*")


class Settings(ServiceSettings):
    """Rates are requests a second and refill a bucket of `…_burst`."""

    service_name: ClassVar[str] = "gateway"
    secrets: ClassVar[tuple[str, ...]] = ("internal_secret",)

    upload_url: str
    usage_url: str
    billing_url: str
    base_url: str
    jwt_private_key_file: Path

    # Whether a client may put its request into a trace of its own.
    trust_client_trace: bool = False

    admin_email: str = ""
    admin_password: str = ""

    smtp_url: str = "smtp://127.0.0.1:1025"
    mail_from: str = "Stowage <notices@stowage.localhost>"

    # How many proxies of one's own stand before the gateway: that many entries of X-Forwarded-For are believed.
    trusted_proxies: int = 0

    # Origins whose pages may use the API, separated by commas; `*` for all others, without cookies.
    cors_origins: str = ""

    address_rate: float = 2_000
    address_burst: float = 4_000
    tenant_rate: float = 2_000
    tenant_burst: float = 4_000
    login_rate: float = 0.2
    login_burst: float = 10
    signup_rate: float = 2
    signup_burst: float = 200

    answer_seconds: float = 60  # for a service to answer, after the whole body
    progress_seconds: float = 60  # for a service to take or give the next bytes
    client_seconds: float = 30  # for a client's next bytes of a body
    upgrade_url: str = "/app/plans"  # what a refusal by the plan points to
    streams_per_user: int = 8  # open event streams
    traffic_seconds: float = Field(default=5, gt=0)  # from one writing of what was counted to the next

    @property
    def origins(self) -> list[str]:
        return [part.strip() for part in self.cors_origins.split(",") if part.strip()]

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        if any(part.strip() and not _ORIGIN.fullmatch(part.strip()) for part in value.split(",")):
            raise ValueError("wanted: https://host or https://host:port, several separated by commas, or *")
        return value
