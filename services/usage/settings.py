import re
from typing import ClassVar

from pydantic import Field, field_validator

from services.usage.history.buckets import Retention
from services.usage.tenants.models import Isolation
from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    service_name: ClassVar[str] = "usage"

    upload_url: str
    billing_url: str
    gateway_url: str
    threshold_slack: int = Field(default=0, ge=0, le=50)  # percent below a threshold at which it is armed again
    docker_url: str = ""  # of the engine whose disk is measured; empty: none is
    docker_tenant_label: str = Field(default="stowage.tenant", min_length=1)
    docker_project_label: str = Field(default="stowage.project", min_length=1)
    tenant_isolation: Isolation = "shared"  # of new tenants
    calculation_hour: int = Field(default=3, ge=0, le=23)  # UTC

    comparison_hour: int = Field(default=4, ge=0, le=23)  # UTC
    comparison_repair: bool = False  # whether counters that differ from their ledgers are put right at night
    history_minute_days: int = Field(default=7, ge=1, le=3650)  # so long history is kept by the minute
    history_hour_days: int = Field(default=92, ge=1, le=3650)
    history_day_days: int = Field(default=1830, ge=31, le=36500)

    @property
    def retention(self) -> Retention:
        return Retention(self.history_minute_days, self.history_hour_days, self.history_day_days)

    @field_validator("docker_url")
    @classmethod
    def _is_an_engine(cls, value: str) -> str:
        if value and not re.fullmatch(r"unix:///.+|(?:tcp|http)://(?:[\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}/?", value):
            raise ValueError("wanted: unix:///path, tcp://host:port or http://host:port")
        return value
