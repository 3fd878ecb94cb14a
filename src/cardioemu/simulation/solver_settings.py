"""Settings of the solver: which solver, its tolerances, its threads."""

from typing import Annotated

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from cardioemu.simulation.solvers import SOLVERS
from cardioemu.simulation.solvers.rodas.compiler import find_compiler


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
