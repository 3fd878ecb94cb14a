"""Settings of the job `sync`."""

from pathlib import Path

from pydantic.dataclasses import dataclass

from cardioemu.settings.simulate import PARTS
from cardioemu.tracking import Tracking


@dataclass(frozen=True, config=PARTS)
class SyncSettings:
    """Settings of the job `sync`."""

    tracking: Tracking
    runs_dir: Path
