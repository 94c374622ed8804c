"""A tenant's settings of its storage."""

from typing import Annotated

from pydantic import BaseModel, Field


class SettingsIO(BaseModel):
    """`versions_kept`: older versions kept of each file when it is replaced, and counted like files. 0 keeps none."""

    versions_kept: Annotated[int, Field(ge=0, le=100)]
