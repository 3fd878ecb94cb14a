"""Whether a run fits: what it takes of host, GPU and disk, held against what is there before it takes any."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from cardioemu.runtime.machine import format_bytes, free_disk, free_memory, private_memory
from cardioemu.training.memory.fake_run import MemoryUse, measure_memory
from cardioemu.training.trainer import TrainerSettings
from cardioemu.windowing import CELLS_AT_ONCE

POOLS = ("host", "GPU", "disk")
NAMES = {"host": "host memory", "GPU": "GPU memory", "disk": "disk for checkpoints"}
MIXED = "bf16-mixed"
LATER = 30_000_000  # what the program itself still loads and draws after this: plots, MLflow, threads
CUDA = 1_600_000_000  # context, workspaces, what the allocator keeps: on an H100 1.0 of it, with bf16-mixed 1.5
HELD_PART = 0.5  # of the memory that the run leaves


@dataclass(frozen=True)
class Preflight:
    """What a run takes, in bytes.

    Attributes:
        rehearsal: the network and its training.
        gpu: whether it trains on one.
        free: what is there of each of `PLACES`; of the host, what this process has already included.
        program: what this process had before.
        processes: that train together on this machine; on GPUs, each on its own.
        shards: parts into which the network, its gradients and the optimiser's state are divided over processes.
        held: training windows held in memory, by place, in each process.
    """

    memory_use: MemoryUse
    gpu: bool
    free: Mapping[str, int]
    program: int
    processes: int = 1
    shards: int = 1
    held: Mapping[str, int] = field(default_factory=dict)

    @property
    def breakdown(self) -> dict[str, dict[str, int]]:
        """What there is at once in training in one process, by part and place."""
        r, device = self.memory_use, "GPU" if self.gpu else "host"
        return {
            "program": {"host": self.program + LATER} | ({"GPU": CUDA} if self.gpu else {}),
            "parameters": {device: r.network // self.shards},
            "gradients": {device: r.gradients // self.shards},
            "optimiser state": {device: r.optimizer // self.shards},
            "activations and work": {device: r.working},
            "windows held": dict(self.held),
            # best and its copy in MLflow; last, previous, the next last
            "checkpoints": {"disk": 2 * r.network + 3 * (r.network + r.optimizer)},
        }

    @property
    def initialisation(self) -> int:
        """What there is of the host's memory at once while the network is built, before the rest comes."""
        return self.breakdown["program"]["host"] + self.memory_use.building

    @property
    def required(self) -> dict[str, int]:
        """The most that the run takes of each place at any time: of the host, all its processes together."""
        training = {place: sum(part.get(place, 0) for part in self.breakdown.values()) for place in POOLS}
        return training | {"host": self.processes * max(training["host"], self.initialisation)}

    @property
    def insufficient(self) -> list[str]:
        """The places that have too little."""
        return [place for place, needed in self.required.items() if needed > self.free[place]]

    @property
    def window_budget(self) -> dict[str, int]:
        """How much of the training windows each process may hold in memory: half of what the run leaves."""
        needs = replace(self, held={}).required
        left = {place: HELD_PART * max(self.free[place] - needs[place], 0) for place in ("GPU", "host")}
        return {"GPU": int(left["GPU"]), "host": int(left["host"]) // self.processes}

    def __str__(self) -> str:
        begin = {"initialisation": {"host": self.initialisation}}
        rows = self.breakdown | begin | {"at most": self.required, "there is": dict(self.free)}
        places = [place for place in POOLS if place != "GPU" or self.gpu]
        table = pd.DataFrame.from_dict(rows, orient="index", columns=places)
        return table.map(lambda size: format_bytes(size) if size > 0 else "").rename_axis("memory").to_string()


@dataclass(frozen=True)
class TrainingJob:
    """All that the memory of a training hangs on.

    Attributes:
        model: builds the network.
        optimizer: makes the optimiser of its parameters.
        inputs: scaled conductances.
        points: of a window.
        windows: of a cell.
        batch_size: windows of a training batch.
        trainer: where and how accurately the network is trained.
        folder: where the checkpoints will be.
    """

    model: partial[Any]
    optimizer: Callable[..., Any]
    inputs: int
    output_samples: int
    windows: int
    batch_size: int
    trainer: TrainerSettings
    folder: Path

    @cached_property
    def memory_use(self) -> MemoryUse:
        """What the network and its training take; allocates nothing."""
        return measure_memory(
            self.model,
            self.optimizer,
            inputs=self.inputs,
            output_samples=self.output_samples,
            batch_size=-(-self.batch_size // (self.trainer.processes * self.trainer.accumulate)),
            cells=CELLS_AT_ONCE,
            windows=self.windows,
            mixed=self.trainer.precision == MIXED,
        )

    def preflight(self) -> Preflight:
        """Measures what this process has and what is there now, beside what the job takes."""
        gpu = self.trainer.accelerator == "gpu"
        program = private_memory()
        replaced = sum(path.stat().st_size for path in self.folder.glob("*.ckpt"))  # of a run that is resumed
        free = {
            "host": free_memory() + program,
            "GPU": torch.cuda.mem_get_info()[0] if gpu else 0,
            "disk": free_disk(self.folder) + replaced,
        }
        shards = self.trainer.processes if self.trainer.strategy == "fsdp" else 1
        return Preflight(self.memory_use, gpu, free, program, self.trainer.devices, shards)

    def shortfall_message(self) -> str | None:
        """Says in a sentence what the job lacks and what would fit; None if it fits."""
        found = self.preflight()
        if not found.insufficient:
            return None
        lacks = " and ".join(
            f"{format_bytes(found.required[place])} of {NAMES[place]}, of which {format_bytes(found.free[place])} are there"
            for place in found.insufficient
        )
        fitting = [setting for setting in self._alternatives() if setting]
        would = f"{' or '.join(fitting)} would fit" if fitting else "no smaller batch or network would fit"
        return f"memory_check: the run takes {lacks}; {would} (memory_check=warn goes on regardless)"

    def _alternatives(self) -> Iterator[str | None]:
        keywords = self.model.keywords
        if "hidden" in keywords:
            yield self._largest("model.hidden", keywords["hidden"], lambda n: {"model": partial(self.model, hidden=n)})
        if keywords.get("dead_weights") == "hold":
            lighter = replace(self, model=partial(self.model, dead_weights="drop"))
            yield None if lighter.preflight().insufficient else "model.dead_weights=drop"
        yield self._largest("data.batch_size", self.batch_size, lambda n: {"batch_size": n})
        if self.trainer.precision != MIXED:
            mixed = replace(self, trainer=replace(self.trainer, precision=MIXED))
            yield None if mixed.preflight().insufficient else f"trainer.precision={MIXED}"

    def _largest(self, name: str, too_large: int, change: Callable[[int], dict[str, Any]]) -> str | None:
        """Finds the largest value with two digits that count for which the job fits."""
        fits, misfits = 0, too_large
        while misfits - fits > max(1, fits // 100):
            middle = (fits + misfits) // 2
            if replace(self, **change(middle)).preflight().insufficient:
                misfits = middle
            else:
                fits = middle
        return f"{name}={_two_digits(fits)}" if fits else None


def _two_digits(number: int) -> int:
    unit = 10 ** max(len(str(number)) - 2, 0)
    return number // unit * unit
