"""Jobs of a batch system, each of which brings one Dask worker per core: what dask-jobqueue is told of them."""

import inspect
import shutil
import signal
from collections.abc import Mapping
from typing import Any

from cardioemu.common.errors import UserError, name_hint

SYSTEMS = {"slurm": "SLURM", "pbs": "PBS", "lsf": "LSF"}
# Of dask-jobqueue's arguments: those that are settled here, and names that it has given up.
SETTLED = {"self", "args", "kwargs", "base_class_kwargs", "scheduler", "name", "processes", "nanny", "config_name"}
SETTLED |= {"protocol", "security", "worker_command", "extra", "env_extra", "header_skip", "job_extra"}
# What a worker shows of itself is for its own machine only.
DASHBOARD = ["--dashboard-address", "127.0.0.1:0"]
PER_CORE = 5e8  # bytes: a worker with the libraries takes half of that
LISTS = {"job_directives_skip", "job_extra_directives", "job_script_prologue", "worker_extra_args"}
TEXTS = {"account", "interface", "job_name", "local_directory", "log_directory", "project", "python", "queue"}


def check(system: str, settings: Mapping[str, Any]) -> None:
    """Checks what dask-jobqueue is told of a job.

    Args:
        system: "slurm", "pbs" or "lsf".
        settings: by the names of dask-jobqueue; None leaves one to its own configuration.

    Raises:
        UserError: one that is unknown or missing, or a value that cannot be used.
    """
    kinds = _cluster(system).job_cls.__mro__
    known = sorted({name for kind in kinds for name in inspect.signature(kind.__init__).parameters} - SETTLED)
    for key, value in settings.items():
        if key not in known:
            raise UserError(f"campaign.job.{key}: a {SYSTEMS[system]} job has no such setting; {name_hint(key, known)}")
        if fault := _fault(key, value):
            raise UserError(f"campaign.job.{key}: got {value!r}, {fault}")
    for key, example in {"cores": "16", "memory": "32 GB"}.items():
        if settings.get(key) is None:
            raise UserError(
                f"campaign.job.{key}: a {SYSTEMS[system]} job needs it, like {example}; see campaign={system}"
            )
    if _bytes(settings["memory"]) < PER_CORE * settings["cores"]:
        raise UserError(
            f"campaign.job.memory: got {settings['memory']!r} for {settings['cores']} cores, "
            "allowed is 0.5 GB per core or more: every core is a worker of its own"
        )


def _fault(key: str, value: Any) -> str | None:
    if value is None:
        return None
    if key == "cores":
        right = isinstance(value, int) and not isinstance(value, bool) and value > 0
        return None if right else "allowed is a whole number from 1"
    if key == "memory":
        return None if _bytes(value) else 'allowed is a size with its unit, like "16 GB"'
    if key == "walltime":  # YAML reads an unquoted 01:00:00 as a number of seconds, SLURM a number as minutes
        return None if isinstance(value, str) else 'allowed is a time in quotes, like "04:00:00"'
    if key in LISTS:
        right = isinstance(value, list) and all(isinstance(line, str) for line in value)
        return None if right else "allowed is a list of texts"
    return "allowed is a text" if key in TEXTS and not isinstance(value, str) else None


def _bytes(size: Any) -> float:
    """Reads a size with its unit; 0 for anything else."""
    from dask.utils import parse_bytes

    try:
        return float(parse_bytes(size)) if isinstance(size, str) and not size.isdigit() else 0.0
    except ValueError:
        return 0.0


def job_script(system: str, settings: Mapping[str, Any]) -> str:
    """Returns the script of a job as it would be submitted, but for the address of the scheduler.

    Raises:
        UserError: dask-jobqueue cannot make one.
    """
    try:
        return str(
            _cluster(system).job_cls("tcp://SCHEDULER", name="WORKER", **_arguments(system, settings)).job_script()
        )
    except (ValueError, TypeError, OSError) as error:
        raise UserError(f"campaign.job: no {SYSTEMS[system]} job can be made of this: {_line(error)}") from error


def submit(system: str, settings: Mapping[str, Any], jobs: int) -> Any:
    """Starts a scheduler in this process, submits jobs that bring it workers, and returns the cluster.

    Raises:
        UserError: the batch system refuses a job, or this machine cannot submit any.
    """
    import dask
    from distributed import Status

    job_script(system, settings)
    kind = _cluster(system)
    command = kind.job_cls.submit_command
    if shutil.which(command) is None:
        raise UserError(
            f"campaign.cluster: {SYSTEMS[system]} jobs are submitted with {command}, which is not on PATH; "
            "run this where jobs are submitted from, or on this machine with campaign=dask"
        )
    options = {"dashboard_address": "127.0.0.1:0", **dask.config.get(f"jobqueue.{system}.scheduler-options")}
    cluster = kind(**_arguments(system, settings), scheduler_options=options, silence_logs="critical")

    async def accepted() -> None:
        cluster.scale(jobs=jobs)
        await cluster

    try:
        cluster.sync(accepted)
    except Exception as error:  # whatever the batch system has to say
        for job in cluster.workers.values():
            job.status = Status.failed  # dask-jobqueue does not note it, and asks for it when it closes
        cluster.close()
        raise UserError(f"campaign.job: {SYSTEMS[system]} has refused a job: {_line(error)}") from error
    return cluster


def _cluster(system: str) -> Any:
    before = signal.getsignal(signal.SIGINT)
    import dask_jobqueue

    if signal.getsignal(signal.SIGINT) is not before:  # once imported, it ends the program at Ctrl-C, with status 0
        signal.signal(signal.SIGINT, before)
    return getattr(dask_jobqueue, f"{SYSTEMS[system]}Cluster")


def _arguments(system: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    import dask

    more = settings.get("worker_extra_args") or dask.config.get(f"jobqueue.{system}.worker-extra-args")
    return {**settings, "processes": settings["cores"], "worker_extra_args": [*DASHBOARD, *more]}


def _line(error: BaseException) -> str:
    """Puts an error on one line; of a command that has failed, what that has said."""
    *_, said = str(error).split("stderr:\n")
    return " ".join((said.strip() or str(error)).split()) or type(error).__name__
