"""Batch jobs that start Dask workers, one per core, through dask-jobqueue."""

import shutil
import signal
from collections.abc import Mapping
from typing import Any

from cardioemu.common.errors import UserError

SYSTEMS = {"slurm": "SLURM", "pbs": "PBS", "lsf": "LSF"}
DASHBOARD = ["--dashboard-address", "127.0.0.1:0"]  # not reachable from other machines


def job_script(system: str, settings: Mapping[str, Any]) -> str:
    """Return the script of a job as it would be submitted, without the address of the scheduler.

    Raises:
        UserError: dask-jobqueue refuses the settings.
    """
    try:
        job_class = _cluster_class(system).job_cls
        return str(job_class("tcp://SCHEDULER", name="WORKER", **_arguments(system, settings)).job_script())
    except Exception as error:  # dask-jobqueue documents no exceptions
        given = ", ".join(f"{name}={value!r}" for name, value in settings.items() if value is not None)
        raise UserError(
            f"campaign.job: got {given or 'no settings'}, of which dask-jobqueue makes no {SYSTEMS[system]} job "
            f"({_one_line(error)}); see conf/campaign/{system}.yaml"
        ) from error


def submit(system: str, settings: Mapping[str, Any], jobs: int) -> Any:
    """Start a scheduler in this process, submit jobs that start its workers, and return the cluster.

    Raises:
        UserError: the batch system refuses a job, or this machine cannot submit jobs.
    """
    import dask
    from distributed import Status

    cluster_class = _cluster_class(system)
    command = cluster_class.job_cls.submit_command
    if shutil.which(command) is None:
        raise UserError(
            f"campaign.cluster: got {system}, but its command {command} is not on PATH; run this on a machine that "
            f"submits {SYSTEMS[system]} jobs, or here with campaign=dask"
        )
    options = {"dashboard_address": "127.0.0.1:0", **dask.config.get(f"jobqueue.{system}.scheduler-options")}
    cluster = cluster_class(**_arguments(system, settings), scheduler_options=options, silence_logs="critical")

    async def start_jobs() -> None:
        cluster.scale(jobs=jobs)
        await cluster

    try:
        cluster.sync(start_jobs)
    except Exception as error:  # the error depends on the batch system
        for job in cluster.workers.values():
            job.status = Status.failed  # dask-jobqueue does not set it, but reads it in `close`
        cluster.close()
        raise UserError(f"campaign.job: {SYSTEMS[system]} refused a job: {_one_line(error)}") from error
    return cluster


def _cluster_class(system: str) -> Any:
    handler = signal.getsignal(signal.SIGINT)
    import dask_jobqueue

    if signal.getsignal(signal.SIGINT) is not handler:  # its import makes Ctrl-C exit with status 0
        signal.signal(signal.SIGINT, handler)
    return getattr(dask_jobqueue, f"{SYSTEMS[system]}Cluster")


def _arguments(system: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    import dask

    arguments = dict(settings)
    worker_arguments = arguments.pop("worker_extra_args", None) or dask.config.get(
        f"jobqueue.{system}.worker-extra-args"
    )
    return dict(processes=arguments.get("cores"), worker_extra_args=[*DASHBOARD, *worker_arguments], **arguments)


def _one_line(error: BaseException) -> str:
    """Return the message of an error on one line; of a failed command, its error output."""
    *_, message = str(error).split("stderr:\n")
    return " ".join((message.strip() or str(error)).split()) or type(error).__name__
