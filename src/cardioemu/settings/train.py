"""What `train.py` is told."""

from collections.abc import Callable
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from cardioemu.data import SplitRule
from cardioemu.errors import UserError
from cardioemu.settings.simulate import PARTS, SimulateSettings
from cardioemu.tracking import Tracking
from cardioemu.training import TrainingJob
from cardioemu.windowing import WindowRule


@dataclass(frozen=True, config=PARTS)
class TrainSettings(SimulateSettings):
    """What `train.py` is told; a part that is a callable still wants what only the data knows."""

    windowing: WindowRule
    data: SplitRule
    model: partial[Any]
    optimizer: Callable[..., Any]
    schedule: Callable[..., Any]
    trainer: partial[Any]
    evaluation: Callable[..., Any]
    tracking: Tracking
    seed: NonNegativeInt
    runs_dir: Path
    resume: Path | None
    memory_check: Literal["refuse", "warn"]
    smoothing: bool
    milestones: list[PositiveInt]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.windowing.one_cycle:
            raise UserError(
                "windowing.length_ms: got cycle, but model has no output for the length of a cycle, without which a "
                "window of one cycle has no times; give a length in ms"
            )
        if self.processes > 1 and self.trainer.keywords["strategy"] == "single":
            raise UserError(
                f"trainer.strategy: got single for {self.processes} processes (trainer.devices times trainer.nodes); "
                "use ddp or fsdp"
            )
        need_ms, has_ms = self.windowing.shortest_trace_ms, self.simulator.duration_ms
        if need_ms > has_ms:
            raise UserError(
                f"simulator.duration_ms: got {has_ms:g}, but a window of {self.windowing.length_ms:g} ms after "
                f"settling for {self.windowing.settle_ms:g} ms needs at least {need_ms:g}; "
                "simulate longer or cut shorter windows"
            )

    @property
    def sizes(self) -> dict[str, Any]:
        """What the data tells the model: those of its arguments that hang on inputs and windows."""
        time_ms = self.windowing.time_ms
        known = {
            "samples": self.windowing.points,
            "inputs": self.scales.shape[1],
            "begin_ms": float(time_ms[0]),
            "interval_ms": float(time_ms[1] - time_ms[0]),
        }
        return {name: value for name, value in known.items() if name in signature(self.model.func).parameters}

    @property
    def trained_on(self) -> str:
        """What the rows are that the model is trained on."""
        with torch.device("meta"):
            return str(self.model(**self.sizes).trained_on)

    def job(self, folder: Path) -> TrainingJob:
        """Says all that the memory of the training hangs on, whose checkpoints go to `folder`."""
        return TrainingJob(
            partial(self.model, **self.sizes),
            self.optimizer,
            inputs=self.scales.shape[1],
            points=self.windowing.points,
            windows=self.windowing.count,
            batch_size=self.data.batch_size,
            trainer=self.trainer,
            folder=folder,
        )

    @property
    def in_sweep(self) -> bool:
        """Whether other runs stand beside this one under a sweep."""
        return self.tracking.parent_run_id is not None

    @property
    def processes(self) -> int:
        """How many train together."""
        return int(self.trainer.keywords["devices"] * self.trainer.keywords["nodes"])
