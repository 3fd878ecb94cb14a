"""What `sync.py` is told."""

from pathlib import Path

from pydantic.dataclasses import dataclass

from cardioemu.settings.simulate import PARTS
from cardioemu.tracking import Tracking


@dataclass(frozen=True, config=PARTS)
class SyncSettings:
    """What `sync.py` is told."""

    tracking: Tracking
    runs_dir: Path
