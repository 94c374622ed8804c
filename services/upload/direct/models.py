"""A direct upload's row, from the offer until its last URL is dead."""

from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import BigInteger
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlmodel import Field, SQLModel

from services.upload.intake.placement import Placement

State = Literal["open", "completing", "stored", "refused", "aborted", "expired"]

_PLACEMENT = TypeAdapter(Placement)
_TIME: Any = TIMESTAMP(timezone=True)


class DirectUpload(SQLModel, table=True):
    """`size` in bytes as declared and reserved, None where nobody said; `id` becomes the file's.

    `staged` is where the client's bytes arrive, `path` where the file will be: the same where no URL of the client's
    outlives the upload. `backend` is what the store has to be told to go on, `part_size` None for one in one piece.
    `attempt` counts who has tried to complete it; `lease` is how long the one who tries may be believed alive.
    """

    __tablename__ = "direct_upload"

    id: UUID = Field(primary_key=True)
    tenant_id: UUID
    user_id: UUID | None
    size: int | None = Field(sa_type=BigInteger)
    sha256: str | None
    place: dict[str, Any] = Field(sa_type=JSONB)
    location: str
    staged: str
    path: str
    backend: dict[str, Any] = Field(sa_type=JSONB)
    part_size: int | None = Field(sa_type=BigInteger)
    collects: bool = False  # completed by us as soon as its bytes are there: its client will not come back
    state: str = "open"
    problem: dict[str, Any] | None = Field(default=None, sa_type=JSONB)
    attempt: int = 0
    lease: datetime | None = Field(default=None, sa_type=_TIME)
    lifetime: int = 3600  # seconds from one sign of life to the next
    expires_at: datetime = Field(sa_type=_TIME)

    @classmethod
    def read(cls, row: Any) -> Self:
        return cls.model_validate(dict(row))

    @property
    def placement(self) -> Placement:
        return _PLACEMENT.validate_python(self.place)

    @property
    def in_parts(self) -> bool:
        return self.part_size is not None
