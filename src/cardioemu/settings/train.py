"""Settings of the train job."""

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
from cardioemu.training.active_learning import NEEDS_ENSEMBLE, ActiveLearning
from cardioemu.windowing import COLUMNS, WindowRule, check_column_names


@dataclass(frozen=True, config=PARTS)
class TrainSettings(SimulateSettings):
    """Settings of the train job. Callable fields are factories whose other arguments depend on the data."""

    windowing: WindowRule
    data: SplitRule
    model: partial[Any]
    optimizer: Callable[..., Any]
    schedule: Callable[..., Any]
    trainer: TrainerSettings
    evaluation: Callable[..., Any]
    tracking: Tracking
    seed: Annotated[int, Field(ge=0, lt=2**32)]  # the range of numpy's generators
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
                raise UserError(NEEDS_ENSEMBLE)
        need_ms, has_ms = self.windowing.shortest_trace_ms, self.simulator.duration_ms
        if need_ms > has_ms:
            raise UserError(
                f"simulator.duration_ms: got {has_ms:g}, but a window of {self.windowing.length_ms:g} ms after "
                f"windowing.settle_ms={self.windowing.settle_ms:g} needs at least {need_ms:g}; increase it, or shorten "
                "the windows"
            )

    def _check_windowing(self) -> None:
        if self.windowing.length_ms == "cycle":
            raise UserError(
                "windowing.length_ms: got cycle, but a network predicts windows of a fixed length; give a length in ms"
            )
        align, start = self.windowing.align, self.windowing.start
        if self.meta_network.trained_on == "cycles" and (align, start) != ("interpolated", "threshold"):
            raise UserError(
                f"windowing: got align={align} and start={start}, but a registered cycle begins at an interpolated AP "
                "start; set windowing.align=interpolated and windowing.start=threshold, or choose another model"
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
                f"active.rounds: got {self.active.rounds}, but active learning runs in one process, not in {processes} "
                "(trainer.devices times trainer.nodes); set active.rounds=0, or trainer.devices=1 and trainer.nodes=1"
            )
        if trainer.accelerator == "gpu" and trainer.devices > (visible := torch.cuda.device_count()):
            raise UserError(
                f"trainer.devices: got {trainer.devices}; allowed are 1 to {visible}, the visible CUDA devices"
            )

    def _check_schedule(self) -> None:
        """Make a scheduler and take a step, in which torch checks some of the settings."""
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        try:
            scheduler = self.schedule(optimizer)
            optimizer.step()
            scheduler.step(*([1.0] if isinstance(scheduler, ReduceLROnPlateau) else []))
        except (ValueError, TypeError, ArithmeticError) as error:
            raise UserError(f"schedule: torch refuses these settings ({error}); change them") from error

    def _check_epochs(self) -> None:
        if self.smoothing and self.milestones:
            raise UserError(
                f"milestones: got {self.milestones} with smoothing=true, but only a finished run is smoothed; set "
                "smoothing=false or milestones=[]"
            )
        last, tested = "so that the last epoch is validated", "because only validated epochs are tested"
        validated = [("trainer.max_epochs", self.trainer.max_epochs, last)]
        validated += [("active.max_epochs", self.active.max_epochs, last)] if self.active.rounds else []
        validated += [("milestones", epochs, tested) for epochs in self.milestones]
        every = self.trainer.validate_every
        for name, epochs, why in validated:
            if epochs % every:
                raise UserError(f"{name}: got {epochs}; allowed are multiples of trainer.validate_every={every}, {why}")

    @property
    def data_arguments(self) -> dict[str, Any]:
        """Arguments of the model that are set by the design and the windows."""
        time_ms = self.windowing.time_ms
        arguments = {
            "samples": self.windowing.output_samples,
            "inputs": self.scales.shape[1],
            "begin_ms": float(time_ms[0]),
            "interval_ms": float(time_ms[1] - time_ms[0]),
        }
        return {name: value for name, value in arguments.items() if name in signature(self.model.func).parameters}

    @cached_property
    def meta_network(self) -> Network:
        """The network on the meta device: no memory is allocated for its weights."""
        with torch.device("meta"):
            network: Network = self.model(**self.data_arguments)
            return network

    def training_job(self, folder: Path) -> TrainingJob:
        """Return everything that determines the memory of the training; its checkpoints go to `folder`."""
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
        """Describe the inputs and outputs of the network, and the origin of its windows."""
        cell, design = self.cell, data.windows.scales
        # Cells without windows train networks that predict which cells fire.
        training_scales = design[data.split == TRAIN if self.meta_network.predicts_firing else data.cell_indices[TRAIN]]
        return Specification(
            network=self.model.func.__name__,
            network_arguments=self.data_arguments | self.model.keywords,
            scaled=list(cell.scaled),
            lowest=training_scales.min(axis=0).tolist(),
            highest=training_scales.max(axis=0).tolist(),
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
        """Whether the run belongs to a sweep or a search."""
        return self.tracking.parent_run_id is not None
