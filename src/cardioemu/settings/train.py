"""What `train.py` is told."""

from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property, partial
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch.optim.lr_scheduler import ReduceLROnPlateau

from cardioemu.common.errors import UserError
from cardioemu.comparison.measure import ERROR_COLUMNS
from cardioemu.data import TRAIN, SplitRule, WindowDataModule
from cardioemu.emulator import Specification
from cardioemu.models import Network
from cardioemu.settings.simulate import PARTS, SimulateSettings
from cardioemu.tracking import Tracking
from cardioemu.training import TrainerSettings, TrainingJob
from cardioemu.training.active_learning import CANNOT_CHOOSE, ActiveLearning
from cardioemu.windowing import COLUMNS, WindowRule, check_column_names


@dataclass(frozen=True, config=PARTS)
class TrainSettings(SimulateSettings):
    """What `train.py` is told; a part that is a callable still wants what only the data knows."""

    windowing: WindowRule
    data: SplitRule
    model: partial[Any]
    optimizer: Callable[..., Any]
    schedule: Callable[..., Any]
    trainer: TrainerSettings
    evaluation: Callable[..., Any]
    tracking: Tracking
    seed: Annotated[int, Field(ge=0, lt=2**32)]  # numpy's generators take no more
    runs_dir: Path
    resume: Path | None
    memory_check: Literal["refuse", "warn"]
    active: ActiveLearning
    smoothing: bool
    milestones: list[PositiveInt]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_column_names(self.cell.scaled, [*COLUMNS, *ERROR_COLUMNS])
        self._check_windowing()
        self._check_devices()
        self._check_schedule()
        self._check_epochs()
        if self.active.rounds:
            _ = self.active.design_sizes(len(self.scales))
            if not (self.meta_network.has_uncertainty and self.meta_network.predicts_firing):
                raise UserError(CANNOT_CHOOSE)
        need_ms, has_ms = self.windowing.shortest_trace_ms, self.simulator.duration_ms
        if need_ms > has_ms:
            raise UserError(
                f"simulator.duration_ms: got {has_ms:g}, but a window of {self.windowing.length_ms:g} ms after "
                f"settling for {self.windowing.settle_ms:g} ms needs at least {need_ms:g}; "
                "simulate longer or cut shorter windows"
            )

    def _check_windowing(self) -> None:
        if self.windowing.one_cycle:
            raise UserError(
                "windowing.length_ms: got cycle, but model has no output for the length of a cycle, without which a "
                "window of one cycle has no times; give a length in ms"
            )
        align, start = self.windowing.align, self.windowing.start
        if self.trained_on == "cycles" and (align, start) != ("interpolated", "threshold"):
            raise UserError(
                f"windowing: got align={align} and start={start}, but a registered cycle begins at an interpolated AP "
                "start; set windowing.align=interpolated and windowing.start=threshold, or take a model that predicts "
                "samples"
            )

    def _check_devices(self) -> None:
        trainer, processes = self.trainer, self.trainer.processes
        if processes > 1 and trainer.strategy == "single":
            raise UserError(
                f"trainer.strategy: got single for {processes} processes (trainer.devices times trainer.nodes); "
                "use ddp or fsdp"
            )
        if processes > 1 and self.active.rounds:
            raise UserError(
                f"active.rounds: got {self.active.rounds}, but cells are chosen by one process, and {processes} "
                "are to train together (trainer.devices times trainer.nodes)"
            )
        if trainer.accelerator == "gpu" and trainer.devices > (visible := torch.cuda.device_count()):
            raise UserError(f"trainer.devices: got {trainer.devices}, but {visible} CUDA devices are visible")

    def _check_schedule(self) -> None:
        """Makes one and takes a step: torch looks at some of its settings only then."""
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        try:
            course = self.schedule(optimizer)
            optimizer.step()
            course.step(*([1.0] if isinstance(course, ReduceLROnPlateau) else []))
        except (ValueError, TypeError, ArithmeticError) as error:
            raise UserError(f"schedule: torch does not take these settings ({error}); change them") from error

    def _check_epochs(self) -> None:
        every = self.trainer.validate_every
        wanted = {"trainer.max_epochs": self.trainer.max_epochs}
        if self.active.rounds:
            wanted["active.max_epochs"] = self.active.max_epochs
        for name, epochs in wanted.items():
            if epochs % every:
                raise UserError(
                    f"{name}: got {epochs}, allowed are multiples of trainer.validate_every, which is {every}; the "
                    "last epoch is to be validated"
                )
        if self.smoothing and self.milestones:
            raise UserError(
                f"milestones: got {self.milestones} with smoothing=true, but only a run that has ended is smoothed; "
                "set smoothing=false, or leave milestones=[]"
            )
        if early := [epochs for epochs in self.milestones if epochs % every]:
            raise UserError(
                f"milestones: got {early[0]}, allowed are multiples of trainer.validate_every, which is {every}; what "
                "was not validated cannot be tested"
            )

    @property
    def data_arguments(self) -> dict[str, Any]:
        """What the data tells the model: those of its arguments that hang on inputs and windows."""
        time_ms = self.windowing.time_ms
        known = {
            "samples": self.windowing.output_samples,
            "inputs": self.scales.shape[1],
            "begin_ms": float(time_ms[0]),
            "interval_ms": float(time_ms[1] - time_ms[0]),
        }
        return {name: value for name, value in known.items() if name in signature(self.model.func).parameters}

    @cached_property
    def meta_network(self) -> Network:
        """The network without memory for its weights."""
        with torch.device("meta"):
            network: Network = self.model(**self.data_arguments)
            return network

    @property
    def trained_on(self) -> str:
        """What the rows are that the model is trained on."""
        return self.meta_network.trained_on

    def training_job(self, folder: Path) -> TrainingJob:
        """Says all that the memory of the training hangs on, whose checkpoints go to `folder`."""
        return TrainingJob(
            partial(self.model.func, **self.data_arguments | self.model.keywords),
            self.optimizer,
            inputs=self.scales.shape[1],
            output_samples=self.windowing.output_samples,
            windows=self.windowing.count,
            batch_size=self.data.batch_size,
            trainer=self.trainer,
            folder=folder,
        )

    def specification(self, data: WindowDataModule) -> Specification:
        """Notes what the inputs and outputs of the network mean, and where its windows come from."""
        cell, design = self.cell, data.windows.scales
        # Cells that do not fire are seen by networks that tell which do.
        seen = design[data.split == TRAIN if self.meta_network.predicts_firing else data.cell_indices[TRAIN]]
        return Specification(
            network=self.model.func.__name__,
            network_arguments=self.data_arguments | self.model.keywords,
            scaled=list(cell.scaled),
            lowest=seen.min(axis=0).tolist(),
            highest=seen.max(axis=0).tolist(),
            window=asdict(self.windowing),
            simulator_arguments=asdict(self.simulator)
            | {"variant": cell.variant, "scaled": dict(cell.scaled_constants)},
            cell_sha256=cell.digest,
            solver=asdict(self.solver),
            split=asdict(self.data),
            windows_key=data.windows.key,
            design=torch.tensor(design),
        )

    @property
    def in_sweep(self) -> bool:
        """Whether other runs stand beside this one under a sweep."""
        return self.tracking.parent_run_id is not None
