"""Settings of a simulation: the cell model, its pacing, how long it is simulated, what is recorded, the solver."""

from dataclasses import field
from functools import cached_property
from typing import Annotated

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from cardioemu.simulation.cell import Cell, load_cell
from cardioemu.simulation.equations import recorded_variables
from cardioemu.simulation.pacing import Pacing
from cardioemu.simulation.pacing.schedule import schedule
from cardioemu.simulation.solvers import SOLVERS
from cardioemu.simulation.solvers.rodas.compiler import find_compiler

Duration = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""Length of a trace in ms."""

Transient = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""Time in ms that is simulated before a trace begins."""


@dataclass(frozen=True)
class CellSettings:
    """Settings of the simulated cell model.

    Attributes:
        model: name of a bundled model, or path of a .mmt or CellML file.
        duration_ms: length of every trace.
        variant: one of the model's variants; None: the default variant.
        scaled: name -> constant of the model, for a model without a component `scales`.
        parameters: constant -> value that replaces the model's.
        initial_state: state -> initial value that replaces the model's.
        potential: state that is the membrane potential, for a model that does not label one.
        pacing: pacing of the cell.
        record: states and variables to record in addition to V.
        transient_ms: time simulated before the trace begins; it is not stored.
    """

    model: str
    duration_ms: Duration
    variant: str | None = None
    scaled: dict[str, str] | None = None
    parameters: dict[str, float] | None = None
    initial_state: dict[str, float] | None = None
    potential: str | None = None
    pacing: Pacing = field(default_factory=Pacing)
    record: tuple[str, ...] = ()
    transient_ms: Transient = 0.0

    def __post_init__(self) -> None:
        schedule(self.cell, None, self.transient_ms + self.duration_ms)
        recorded_variables(self.cell.equations, self.record)

    @cached_property
    def cell(self) -> Cell:
        """The cell model with these settings."""
        return load_cell(
            self.model, self.variant, self.scaled, self.parameters, self.initial_state, self.potential, self.pacing
        )


def _check_solver(name: str) -> str:
    if name not in SOLVERS:
        raise ValueError(f"allowed is one of {', '.join(SOLVERS)}")
    return name


SolverName = Annotated[str, AfterValidator(_check_solver)]
"""Name of a solver: the population solver "rodas", or a reference."""

Rtol = Annotated[float, Field(ge=1e-13, le=0.1)]
"""Relative tolerance of one solver step."""

Threads = PositiveInt | None
"""Number of CPU threads; None: all available cores."""


@dataclass(frozen=True)
class SolverSettings:
    """Settings of the solver.

    Attributes:
        name: the population solver or one of the references.
        rtol: relative tolerance of one step.
        atol: state -> absolute tolerance of one step that replaces the default (see `absolute_tolerances`).
        threads: number of CPU threads; None: all available cores.

    Raises:
        UserError: "rodas" without a C compiler.
    """

    name: SolverName = "rodas"
    rtol: Rtol = 1e-4
    atol: dict[str, PositiveFloat] | None = None
    threads: Threads = None

    def __post_init__(self) -> None:
        if self.name == "rodas":
            find_compiler()
