"""Whether a run fits: the memory and disk it needs, compared with what is available, before it allocates any."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from inspect import signature
from pathlib import Path
from typing import Any, Final

import pandas as pd
import torch

from cardioemu.models import Network
from cardioemu.runtime.machine import format_bytes, free_disk, free_memory, private_memory
from cardioemu.training.memory.fake_run import MemoryUse, measure_memory
from cardioemu.training.trainer import TrainerSettings
from cardioemu.windowing import CELLS_AT_ONCE

POOL_NAMES = {"host": "host memory", "GPU": "GPU memory", "disk": "disk space for checkpoints"}
MIXED: Final = "bf16-mixed"
LATER_BYTES = 30_000_000  # that the program allocates later: plots, MLflow, threads
CUDA_BYTES = 1_600_000_000  # context, workspaces, allocator's cache: 1.0 of them on an H100, 1.5 with bf16-mixed
CACHE_FRACTION = 0.5  # of the memory that the run leaves free


@dataclass(frozen=True)
class Preflight:
    """What a run needs and what is available, in bytes.

    Attributes:
        memory_use: of the network and its training.
        gpu: whether it trains on a GPU.
        free: what is available of each of `POOL_NAMES`; of the host, including what this process has allocated.
        program: what this process has allocated.
        processes: number that train together on this machine; with GPUs, each on its own.
        shards: number of processes that share the network, its gradients and the optimiser's state.
        cached_windows: training windows in memory, by pool, in each process.
    """

    memory_use: MemoryUse
    gpu: bool
    free: Mapping[str, int]
    program: int
    processes: int = 1
    shards: int = 1
    cached_windows: Mapping[str, int] = field(default_factory=dict)

    @property
    def breakdown(self) -> dict[str, dict[str, int]]:
        """Memory of one process while it trains, by purpose and pool."""
        use, device = self.memory_use, "GPU" if self.gpu else "host"
        return {
            "program": {"host": self.program + LATER_BYTES} | ({"GPU": CUDA_BYTES} if self.gpu else {}),
            "parameters": {device: use.network // self.shards},
            "gradients": {device: use.gradients // self.shards},
            "optimiser state": {device: use.optimizer // self.shards},
            "activations and work": {device: use.working},
            "cached windows": dict(self.cached_windows),
            # best.ckpt and its copy in MLflow; last.ckpt, previous.ckpt and the next last.ckpt
            "checkpoints": {"disk": 2 * use.network + 3 * (use.network + use.optimizer)},
        }

    @property
    def initialisation(self) -> int:
        """Peak of the host memory of one process while the network is built, before it trains."""
        return self.breakdown["program"]["host"] + self.memory_use.building

    @property
    def required(self) -> dict[str, int]:
        """Peak of each pool: of the host, for all processes together."""
        training = {pool: sum(purpose.get(pool, 0) for purpose in self.breakdown.values()) for pool in POOL_NAMES}
        return training | {"host": self.processes * max(training["host"], self.initialisation)}

    @property
    def insufficient(self) -> list[str]:
        """Pools that are too small."""
        return [pool for pool, required in self.required.items() if required > self.free[pool]]

    @property
    def window_budget(self) -> dict[str, int]:
        """Bytes of training windows that each process may cache: half of what the run leaves free."""
        required = replace(self, cached_windows={}).required
        budget = {pool: CACHE_FRACTION * max(self.free[pool] - required[pool], 0) for pool in ("GPU", "host")}
        return {"GPU": int(budget["GPU"]), "host": int(budget["host"]) // self.processes}

    def __str__(self) -> str:
        initialisation = {"initialisation": {"host": self.initialisation}}
        table = self.breakdown | initialisation | {"at most": self.required, "available": dict(self.free)}
        pools = [pool for pool in POOL_NAMES if pool != "GPU" or self.gpu]
        sizes = pd.DataFrame.from_dict(table, orient="index", columns=pools)
        return sizes.map(lambda size: format_bytes(size) if size > 0 else "").rename_axis(columns="memory").to_string()


@dataclass(frozen=True)
class TrainingJob:
    """Everything that determines the memory of a training.

    Attributes:
        model: factory of the network.
        optimizer: factory of the optimiser.
        inputs: number of scaled conductances.
        output_samples: samples of a window.
        windows: windows per cell.
        batch_size: windows in a training batch.
        trainer: where and how accurately the network is trained.
        folder: where the checkpoints will be.
    """

    model: partial[Network]
    optimizer: Callable[..., Any]
    inputs: int
    output_samples: int
    windows: int
    batch_size: int
    trainer: TrainerSettings
    folder: Path

    @cached_property
    def memory_use(self) -> MemoryUse:
        """Memory of the network and its training; measuring it allocates nothing."""
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
        """Compare what the job needs with what is available now."""
        gpu = self.trainer.accelerator == "gpu"
        program = private_memory()
        replaced = sum(path.stat().st_size for path in self.folder.glob("*.ckpt"))  # by those of the resumed run
        free = {
            "host": free_memory() + program,
            "GPU": torch.cuda.mem_get_info()[0] if gpu else 0,
            "disk": free_disk(self.folder) + replaced,
        }
        shards = self.trainer.processes if self.trainer.strategy == "fsdp" else 1
        return Preflight(self.memory_use, gpu, free, program, self.trainer.devices, shards)

    @property
    def fits(self) -> bool:
        """Whether there is enough memory and disk space now."""
        return not self.preflight().insufficient

    def shortfall_message(self) -> str | None:
        """Return a sentence that says what is too small and what would fit; None if the job fits."""
        preflight = self.preflight()
        if not preflight.insufficient:
            return None
        needs = [
            f"{format_bytes(preflight.required[pool])} of {name} ({format_bytes(preflight.free[pool])} available)"
            for pool, name in POOL_NAMES.items()
            if pool in preflight.insufficient
        ]
        alternatives = [setting for setting in self._alternatives() if setting]
        advice = f"{' or '.join(alternatives)} would fit" if alternatives else "no smaller batch or network would fit"
        return f"memory_check: the run needs {' and '.join(needs)}; {advice}; memory_check=warn starts it anyway"

    def _alternatives(self) -> Iterator[str | None]:
        """Yield settings by which the job would fit, and None for each setting that cannot help."""
        network = self.model.func
        assert isinstance(network, type)
        assert issubclass(network, Network)
        arguments = {name: p.default for name, p in signature(network).parameters.items()} | self.model.keywords
        if size := network.size_argument:
            yield self._largest(f"model.{size}", arguments[size], partial(self._with_argument, size))
        for name, value in network.equivalent_arguments.items():
            if arguments[name] != value:
                yield f"model.{name}={value}" if self._with_argument(name, value).fits else None
        yield self._largest("data.batch_size", self.batch_size, lambda size: replace(self, batch_size=size))
        if self.trainer.precision != MIXED:
            mixed = replace(self, trainer=replace(self.trainer, precision=MIXED))
            yield f"trainer.precision={MIXED}" if mixed.fits else None

    def _with_argument(self, name: str, value: object) -> "TrainingJob":
        return replace(self, model=partial(self.model, **{name: value}))

    def _largest(self, name: str, too_large: int, change: Callable[[int], "TrainingJob"]) -> str | None:
        """Find the largest value of a setting, rounded down to two digits, with which the job fits."""
        fitting, misfitting = 0, too_large
        while misfitting - fitting > max(1, fitting // 100):
            middle = (fitting + misfitting) // 2
            if change(middle).fits:
                fitting = middle
            else:
                misfitting = middle
        return f"{name}={_round_down(fitting)}" if fitting else None


def _round_down(number: int) -> int:
    unit = 10 ** max(len(str(number)) - 2, 0)
    return number // unit * unit
