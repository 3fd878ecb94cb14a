"""What a campaign is told: which cell, which solver, and where the work is done."""

import multiprocessing
from dataclasses import field
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from cardioemu.common.errors import UserError
from cardioemu.runtime.machine import available_cores
from cardioemu.simulation.campaigns import jobs
from cardioemu.simulation.cell import Cell, load_cell
from cardioemu.simulation.equations import recorded_variables
from cardioemu.simulation.pacing import Pacing
from cardioemu.simulation.pacing.schedule import schedule
from cardioemu.simulation.solvers.rodas.compiler import find_compiler

LOCAL = "local"


@dataclass(frozen=True)
class CellSettings:
    """Which cell model is simulated, for how long, and what is kept of it.

    Attributes:
        model: a bundled model or the path of a .mmt or CellML file.
        duration_ms: length of every trace.
        variant: one of the model's variants; None takes its own choice.
        scaled: name -> constant of the model, for a model without a component `scales`.
        parameters: constant -> its value in place of the model's.
        initial_state: state -> its initial value in place of the model's.
        potential: the state that is the membrane potential, for a model that does not mark it.
        pacing: how the cell is paced.
        record: states and variables to keep beside V.
        transient_ms: how long each cell is simulated before its trace begins; nothing is kept of it.
    """

    model: str
    duration_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    variant: str | None = None
    scaled: dict[str, str] | None = None
    parameters: dict[str, float] | None = None
    initial_state: dict[str, float] | None = None
    potential: str | None = None
    pacing: Pacing = field(default_factory=Pacing)
    record: tuple[str, ...] = ()
    transient_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    def __post_init__(self) -> None:
        schedule(self._cell, None, self.transient_ms + self.duration_ms)
        recorded_variables(self._cell.equations, self.record)

    def cell(self) -> Cell:
        """Returns the cell model, to be paced as told."""
        return self._cell

    @cached_property
    def _cell(self) -> Cell:
        return load_cell(
            self.model, self.variant, self.scaled, self.parameters, self.initial_state, self.potential, self.pacing
        )


@dataclass(frozen=True)
class SolverSettings:
    """Which solver integrates the cells, how accurately, on how many threads.

    Attributes:
        name: the population solver or one of the references.
        rtol: relative error of one step.
        atol: state -> absolute error of one step, in place of the default (see `absolute_tolerances`).
        threads: None takes every core.

    Raises:
        UserError: "rodas" without a C compiler.
    """

    name: Literal["rodas", "cvodes", "scipy"] = "rodas"
    rtol: Annotated[PositiveFloat, Field(ge=1e-13, le=0.1)] = 1e-4
    atol: dict[str, PositiveFloat] | None = None
    threads: PositiveInt | None = None

    def __post_init__(self) -> None:
        if self.name == "rodas":
            find_compiler()


@dataclass(frozen=True)
class Executor:
    """Where the shards of a campaign are simulated.

    Attributes:
        engine: "local", the threads of the solver in this process; "dask", one shard per task on Dask workers.
        cluster: of Dask: "local" (worker processes on this machine), "slurm", "pbs", "lsf" (jobs through
            dask-jobqueue), or the address of a running scheduler, as "tcp://host:8786".
        workers: of a cluster that is started here: worker processes (None: one per core) or jobs (None: one).
        retries: how often a shard that failed, or whose worker was lost, is given to a worker again.
        job: what dask-jobqueue is told of each job: `queue`, `walltime`, `memory`, `cores`, ...; None leaves a setting
            to its own configuration.

    Raises:
        UserError: an unknown cluster, or a job that cannot be.
    """

    executor: Literal["local", "dask"] = "local"
    cluster: str = LOCAL
    workers: PositiveInt | None = None
    retries: NonNegativeInt = 3
    job: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.executor == "dask" and getattr(multiprocessing.current_process(), "_inheriting", False):
            # A new worker imports the script that it is started from, which would start workers again.
            raise UserError("campaign.engine: a script that uses dask must do so below if __name__ == '__main__':")
        known = (LOCAL, *jobs.SYSTEMS)
        if self.cluster not in known and "://" not in self.cluster:
            raise UserError(
                f"campaign.cluster: got {self.cluster!r}, allowed is one of {', '.join(known)} or the address of a "
                "scheduler, as tcp://host:8786"
            )
        if self.submits_jobs:
            jobs.check(self.cluster, self.job or {})
        elif self.job:
            raise UserError(
                f"campaign.job: with engine {self.executor} and cluster {self.cluster} there are no jobs; "
                f"give campaign={', campaign='.join(jobs.SYSTEMS)}"
            )
        if self.executor == "local" and self.cluster != LOCAL:
            raise UserError(f"campaign.cluster: got {self.cluster!r}, which is for Dask workers; give campaign=dask")
        if self.workers and (self.executor == "local" or "://" in self.cluster):
            where = (
                "campaign=local is one process" if self.executor == "local" else f"{self.cluster} has its own workers"
            )
            raise UserError(f"campaign.workers: got {self.workers}, but {where}; leave it null")

    @property
    def submits_jobs(self) -> bool:
        """Whether the workers come in jobs of a batch system."""
        return self.executor == "dask" and self.cluster in jobs.SYSTEMS

    def processes(self, threads: int) -> int:
        """Counts the processes of so many threads that the work is for: the workers, or this one.

        Of a scheduler at an address nothing is known yet; its workers are counted as those of this machine would be.
        """
        if self.executor == "local":
            return 1
        if self.submits_jobs:
            return (self.workers or 1) * max(1, (self.job or {})["cores"] // threads)
        return self.workers or max(1, available_cores() // threads)

    def job_script(self) -> str | None:
        """Returns the script of the jobs, but for the address of the scheduler; None if there are none.

        Raises:
            UserError: dask-jobqueue cannot make one.
        """
        return jobs.job_script(self.cluster, self.job or {}) if self.submits_jobs else None
