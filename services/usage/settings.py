from typing import ClassVar

from pydantic import Field

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    service_name: ClassVar[str] = "usage"

    upload_url: str
    billing_url: str
    threshold_slack: int = Field(default=0, ge=0, le=50)  # percent below a threshold at which it is armed again
