from typing import ClassVar

from pydantic import Field

from services.usage.tenants.models import Isolation
from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    service_name: ClassVar[str] = "usage"

    upload_url: str
    billing_url: str
    tenant_isolation: Isolation = "shared"  # of new tenants
    calculation_hour: int = Field(default=3, ge=0, le=23)  # UTC
