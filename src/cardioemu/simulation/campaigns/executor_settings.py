"""Settings of the executor: where a campaign is simulated."""

import multiprocessing
from importlib.util import find_spec
from typing import Literal

from pydantic import ConfigDict, NonNegativeInt, PositiveInt, with_config
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

from cardioemu.common.errors import UserError
from cardioemu.runtime.machine import available_cores
from cardioemu.simulation.campaigns.cluster_jobs import SYSTEMS, job_script

LOCAL = "local"


@with_config(ConfigDict(extra="allow"))
class Job(TypedDict, total=False):
    """Those arguments of dask-jobqueue that it accepts without a check."""

    cores: PositiveInt | None
    queue: str | None
    walltime: str | None
    job_extra_directives: list[str] | None
    job_directives_skip: list[str] | None
    job_script_prologue: list[str] | None
    worker_extra_args: list[str] | None


@dataclass(frozen=True)
class Executor:
    """Settings of the executor, which simulates the shards of a campaign.

    Attributes:
        executor: "local": threads of this process; "dask": Dask workers, one task per shard.
        cluster: of the Dask workers: "local" (processes on this machine), "slurm", "pbs", "lsf" (batch jobs through
            dask-jobqueue), or the address of a running scheduler, as "tcp://host:8786".
        workers: number of worker processes on this machine (None: one per core), or of batch jobs (None: one).
        retries: how often a shard is retried after an error or the loss of its worker.
        job: arguments of dask-jobqueue for each batch job: `queue`, `walltime`, `memory`, `cores`, ...; None: the
            default of dask-jobqueue.

    Raises:
        UserError: the cluster is unknown, the settings contradict each other, or Dask is not installed.
    """

    executor: Literal["local", "dask"] = "local"
    cluster: str = LOCAL
    workers: PositiveInt | None = None
    retries: NonNegativeInt = 3
    job: Job | None = None

    def __post_init__(self) -> None:
        clusters = (LOCAL, *SYSTEMS)
        if self.cluster not in clusters and "://" not in self.cluster:
            raise UserError(
                f"campaign.cluster: got {self.cluster!r}; allowed is one of {', '.join(clusters)} or the address of a "
                "scheduler, as tcp://host:8786"
            )
        if self.executor == "dask":
            self._check_dask()
        elif self.cluster != LOCAL:
            raise UserError(f"campaign.cluster: got {self.cluster!r}, which needs Dask workers; set campaign=dask")
        if self.submits_jobs:
            self.job_script()
        elif self.job:
            raise UserError(
                f"campaign.job: got settings of batch jobs with executor {self.executor} and cluster {self.cluster}; "
                f"set campaign={', campaign='.join(SYSTEMS)}"
            )
        if self.workers and (self.executor == "local" or "://" in self.cluster):
            reason = "campaign=local is one process" if self.executor == "local" else f"{self.cluster} has its workers"
            raise UserError(f"campaign.workers: got {self.workers}, but {reason}; set campaign.workers=null")

    def _check_dask(self) -> None:
        if find_spec("dask_jobqueue" if self.cluster in SYSTEMS else "distributed") is None:
            raise UserError(
                f"campaign: executor dask with cluster {self.cluster} needs the cluster extra; "
                'pip install "cardioemu[cluster]"'
            )
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            # A new worker imports the script that started it, which would start workers again.
            raise UserError(
                "campaign.executor: got dask in a script that starts it on import; put the code of the script below "
                "if __name__ == '__main__':"
            )

    @property
    def submits_jobs(self) -> bool:
        """Whether the workers are started by batch jobs."""
        return self.executor == "dask" and self.cluster in SYSTEMS

    def processes(self, threads: int) -> int:
        """Return the number of processes, of `threads` threads each, that simulate.

        The workers of a running scheduler are not known yet; they are counted as if they ran on this machine.
        """
        if self.executor == "local":
            return 1
        if self.submits_jobs:
            cores = (self.job or {}).get("cores") or 1
            return (self.workers or 1) * max(1, cores // threads)
        return self.workers or max(1, available_cores() // threads)

    def job_script(self) -> str | None:
        """Return the script of the batch jobs, without the address of the scheduler; None without jobs.

        Raises:
            UserError: dask-jobqueue refuses the settings of the job.
        """
        return job_script(self.cluster, self.job or {}) if self.submits_jobs else None
