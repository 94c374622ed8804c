from typing import ClassVar

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    service_name: ClassVar[str] = "usage"

    upload_url: str
    billing_url: str
    gateway_url: str
