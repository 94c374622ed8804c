"""What every event has in common: a type, a topic, a tenant, and a JSON body that never changes meaning."""

from typing import Any, ClassVar, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict


class Event(BaseModel):
    """A fact that happened to one tenant, in the past tense. Frozen; unknown fields are ignored, missing ones not."""

    # Values hardly ever repeat: looking them up in pydantic's cache of strings costs a fifth of reading a body.
    model_config = ConfigDict(frozen=True, extra="ignore", cache_strings="keys")

    type: ClassVar[str]
    topic: ClassVar[str]

    tenant_id: UUID

    def body(self) -> str:
        """The exact JSON that is stored, hashed and published."""
        return self.model_dump_json()

    @classmethod
    def parse(cls, body: str | bytes) -> Self:
        """Raises pydantic.ValidationError when the body is not this event."""
        return cls.model_validate_json(body)

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        return cls.model_json_schema(mode="serialization")
