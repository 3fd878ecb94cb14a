"""Settings of the evaluate job."""

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

NAME = r"\w[\w.-]*"  # part of the names of figures and metrics
RESERVED = (*BASELINES, PUBLISHED_LSTM)


@dataclass(frozen=True, config=PARTS)
class EvaluateSettings:
    """Settings of the evaluate job; `design` is a function of the names of the scaled conductances."""

    checkpoint: str | None  # not a Path: it may be an MLflow URI
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
            raise UserError("checkpoint: got null; set checkpoint=RUN_FOLDER/best.ckpt or compare=[A,B]")
        if len(set(self._paths)) < len(self._paths):
            raise UserError("compare: got the same emulator twice; list each emulator once")
        if wrong := [name for name in self.checkpoints if not re.fullmatch(NAME, name) or name in RESERVED]:
            raise UserError(
                f"compare: got the name {wrong[0]!r}; allowed are letters, digits and . _ -, except the names "
                f"{', '.join(RESERVED)}"
            )
        if len(self.checkpoints) < len(self._paths):
            raise UserError("compare: got one name twice; give each emulator its own name, as {one: A, other: B}")
        _ = self.store

    @property
    def checkpoints(self) -> dict[str, str]:
        """Checkpoints by name: as given, `emulator` for a single one, or the parts in which their paths differ."""
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
        """The trace store to measure on; None to simulate the design.

        Raises:
            UserError: the folder is not a trace store.
        """
        try:
            return TraceStore(self.traces) if self.traces else None
        except FileNotFoundError as error:
            raise UserError(
                f"traces: got {self.traces}, which is not a trace store; give the folder that simulate prints"
            ) from error


def distinguishing_names(paths: list[str]) -> list[str]:
    """Return short names for paths: the parts in which they differ.

    ["runs/a/1/best.ckpt", "runs/a/2/best.ckpt"] -> ["1", "2"]
    """
    parts = [path.split("/") for path in paths]
    before, after = _count_common(parts), _count_common([part[::-1] for part in parts])
    shortened = ["/".join(part[before : len(part) - after]) for part in parts]
    return [re.sub(r"[^\w.-]+", "_", name).lstrip(".-") for name in (shortened if all(shortened) else paths)]


def _count_common(parts: list[list[str]]) -> int:
    """Count the leading parts that all paths have in common."""
    return next((i for i, column in enumerate(zip(*parts, strict=False)) if len(set(column)) > 1), 0)
