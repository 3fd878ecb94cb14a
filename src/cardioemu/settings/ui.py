"""Settings of the job `ui`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True)
class UiSettings:
    """Settings of the job `ui`."""

    database: Path
    port: Annotated[int, Field(ge=1, le=65535)]
