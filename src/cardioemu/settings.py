"""The top level of each job's config: one field per key, annotated with what is allowed."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, NonNegativeInt, PositiveFloat
from pydantic.dataclasses import dataclass

from cardioemu.data import SplitRule
from cardioemu.errors import UserError
from cardioemu.simulation import Simulator, Solver
from cardioemu.tracking import Tracking
from cardioemu.windowing import WindowRule

PARTS = ConfigDict(arbitrary_types_allowed=True)


@dataclass(frozen=True, config=PARTS)
class SimulateSettings:
    """What `simulate.py` is told; `design` still wants the number of scaled conductances."""

    simulator: Simulator
    design: Callable[..., Any]
    solver: Solver
    data_dir: Path


@dataclass(frozen=True, config=PARTS)
class TrainSettings(SimulateSettings):
    """What `train.py` is told; a part that is a callable still wants what only the data knows."""

    windowing: WindowRule
    data: SplitRule
    model: partial[Any]
    optimizer: Callable[..., Any]
    trainer: Callable[..., Any]
    evaluation: Callable[..., Any]
    tracking: Tracking
    seed: NonNegativeInt
    runs_dir: Path
    resume: Path | None
    dry_run: bool

    def __post_init__(self) -> None:
        need_ms, has_ms = self.windowing.shortest_trace_ms, self.simulator.duration_ms
        if need_ms > has_ms:
            raise UserError(
                f"simulator.duration_ms: got {has_ms:g}, but a window of {self.windowing.length_ms:g} ms after "
                f"settling for {self.windowing.settle_ms:g} ms needs at least {need_ms:g}; "
                "simulate longer or cut shorter windows"
            )


@dataclass(frozen=True, config=PARTS)
class EvaluateSettings:
    """What `evaluate.py` is told."""

    checkpoint: Path
    design: Callable[..., Any]
    solver: Solver
    duration_ms: PositiveFloat
    data_dir: Path
