"""Runs a job under Hydra: everything checked before anything starts, mistakes told in sentences, exit status 2."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from cardioemu.common.errors import UserError, first_line
from cardioemu.config.config import VERSION_BASE, build, validate_command_line
from cardioemu.config.overrides import parallel_jobs
from cardioemu.runtime.machine import available_cores, rank

Job = Callable[[DictConfig, Path], Any]
Sweep = Callable[[Any, Sequence[str]], AbstractContextManager[Sequence[str]]]
Resume = Callable[[str, Sequence[str]], tuple[DictConfig, Path]]


@contextmanager
def _sentences() -> Iterator[None]:
    """Lets warnings be told without the lines of code that they come from."""
    told, warnings.formatwarning = warnings.formatwarning, lambda message, *_, **__: f"{message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = told


@_sentences()
def launch(
    job: Job,
    conf: Path,
    schema: type,
    *,
    sweep: Sweep = lambda settings, overrides: nullcontext([]),
    resume: Resume | None = None,
) -> None:
    """Runs `job(config, run folder)` as the command line says: once, as a sweep, or resumed.

    Args:
        job: named as its config file; what it raises as UserError is told without a traceback.
        conf: folder of the config files.
        schema: a pydantic dataclass of the config's top level.
        sweep: entered around a sweep with the first job's settings and the overrides; yields overrides for its jobs.
        resume: from the run folder of `resume=FOLDER` and the other overrides to that run's config and folder.
    """
    arguments = get_args_parser().parse_args()
    begun = next((o.partition("=")[2] for o in arguments.overrides if o.startswith("resume=")), "")
    if rank() > 0:  # of several processes that train together one speaks
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    try:
        if arguments.cfg or arguments.info or arguments.help or arguments.hydra_help:
            _run_under_hydra(job, conf)
        elif resume and begun not in ("", "null"):
            if arguments.multirun:
                raise UserError("resume: a sweep cannot be resumed as one; resume its runs one by one")
            config, folder = resume(begun, [o for o in arguments.overrides if not o.startswith("resume=")])
            build(config, schema)
            job(config, folder)
        else:
            settings: list[Any] = validate_command_line(
                conf, job.__name__, arguments.overrides, arguments.multirun, schema
            )
            if (together := parallel_jobs(arguments.overrides, len(settings), available_cores())) > 1:
                # Joblib itself shares the cores out among as many processes as there are cores, needed or not.
                os.environ.setdefault("OMP_NUM_THREADS", str(max(1, available_cores() // together)))
            with sweep(settings[0], arguments.overrides) if arguments.multirun else nullcontext([]) as more:
                sys.argv += more
                _run_under_hydra(job, conf)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except (HydraException, OmegaConfBaseException) as error:  # of what is only shown
        print(f"config: {first_line(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as error:
        print(str(error) or "stopped", file=sys.stderr)
        sys.exit(130)


def _run_under_hydra(job: Job, conf: Path) -> None:
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come through to us instead of ending in exit status 1

    @hydra.main(version_base=VERSION_BASE, config_path=str(conf.resolve()), config_name=job.__name__)
    def task(config: DictConfig) -> Any:
        run = HydraConfig.get()
        folder = Path(run.runtime.output_dir)
        try:
            return job(config, folder)
        except Exception as error:
            if run.mode == RunMode.MULTIRUN:  # Hydra goes on with the other jobs and raises the first error at the end
                print(f"job {run.job.num} failed: {error}", file=sys.stderr)
            elif isinstance(error, UserError):  # past Hydra, which would say more than the sentence
                print(error, file=sys.stderr)
                sys.exit(2)
            raise
        finally:
            _remove_if_empty(folder)  # a dry run or a mistake wrote nothing

    task()


def _remove_if_empty(folder: Path) -> None:
    """Removes an empty folder, and those around it that are empty then, inside the current folder."""
    here = Path.cwd()
    with suppress(OSError):  # not empty, or another process was quicker
        for outer in [folder, *folder.parents]:
            if outer == here or outer in here.parents:
                break
            outer.rmdir()
