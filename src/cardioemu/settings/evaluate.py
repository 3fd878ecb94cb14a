"""What `evaluate.py` is told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import PositiveFloat
from pydantic.dataclasses import dataclass

from cardioemu.settings.simulate import PARTS
from cardioemu.simulation import Engine, Solver


@dataclass(frozen=True, config=PARTS)
class EvaluateSettings:
    """What `evaluate.py` is told."""

    checkpoint: str  # not a Path: it may be a URI of MLflow
    design: Callable[..., Any]
    solver: Solver
    campaign: Engine
    duration_ms: PositiveFloat
    data_dir: Path
