"""What `evaluate.py` is told."""

import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import PositiveFloat
from pydantic.dataclasses import dataclass

from cardioemu.common.errors import UserError
from cardioemu.comparison.baselines import BASELINES
from cardioemu.comparison.measure import PUBLISHED_LSTM
from cardioemu.settings.simulate import PARTS
from cardioemu.simulation import Executor, SolverSettings, TraceStore
from cardioemu.tracking import Tracking
from cardioemu.training import Accelerator

NAME = r"\w[\w.-]*"  # it is that of figures and of metrics
RESERVED = (*BASELINES, PUBLISHED_LSTM)


@dataclass(frozen=True, config=PARTS)
class EvaluateSettings:
    """What `evaluate.py` is told; `design` still wants the names of the scaled conductances."""

    checkpoint: str | None  # not a Path: it may be a URI of MLflow
    compare: list[str] | dict[str, str] | None
    published_lstm: bool
    traces: Path | None
    design: Callable[..., Any]
    solver: SolverSettings
    campaign: Executor
    tracking: Tracking
    duration_ms: PositiveFloat | None
    accelerator: Accelerator
    data_dir: Path
    runs_dir: Path

    def __post_init__(self) -> None:
        if not self._paths:
            raise UserError("checkpoint: this must be given, as checkpoint=RUN_FOLDER/best.ckpt, or compare=[A,B]")
        if len(set(self._paths)) < len(self._paths):
            raise UserError("compare: got the same emulator twice; give each once")
        if wrong := [name for name in self.checkpoints if not re.fullmatch(NAME, name) or name in RESERVED]:
            raise UserError(
                f"compare: got the name {wrong[0]!r}; letters, digits and . _ - are allowed, but none of "
                f"{', '.join(RESERVED)}"
            )
        if len(self.checkpoints) < len(self._paths):
            raise UserError("compare: got one name twice; give each emulator its own, as {one: A, other: B}")
        _ = self.store

    @property
    def checkpoints(self) -> dict[str, str]:
        """The emulators to measure by name: as given, `emulator` if it is one, else what tells their paths apart."""
        first = {"emulator": self.checkpoint} if self.checkpoint else {}
        if isinstance(self.compare, dict):
            return first | self.compare
        paths = self._paths
        return dict(zip(["emulator"] if len(paths) == 1 else distinguishing_names(paths), paths, strict=True))

    @property
    def _paths(self) -> list[str]:
        others = self.compare.values() if isinstance(self.compare, dict) else self.compare or []
        return [*([self.checkpoint] if self.checkpoint else []), *others]

    @cached_property
    def store(self) -> TraceStore | None:
        """The traces to measure on, where they are given.

        Raises:
            UserError: there are none.
        """
        try:
            return TraceStore(self.traces) if self.traces else None
        except FileNotFoundError as error:
            raise UserError(
                f"traces: got {self.traces}, which is no trace store; give the folder that simulate.py names at its end"
            ) from error


def distinguishing_names(paths: list[str]) -> list[str]:
    """Names paths by the parts in which they differ.

    ["runs/a/1/best.ckpt", "runs/a/2/best.ckpt"] -> ["1", "2"]
    """
    parts = [path.split("/") for path in paths]
    before, after = _shared(parts), _shared([part[::-1] for part in parts])
    shortened = ["/".join(part[before : len(part) - after]) for part in parts]
    return [re.sub(r"[^\w.-]+", "_", name).lstrip(".-") for name in (shortened if all(shortened) else paths)]


def _shared(parts: list[list[str]]) -> int:
    """Counts how many first parts are the same in all."""
    return next((i for i, found in enumerate(zip(*parts, strict=False)) if len(set(found)) > 1), 0)
