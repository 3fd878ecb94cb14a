"""Run a job from the command line: once, as a sweep, or resumed; exit with status 2 and sentences on bad input."""

import os
import sys
import warnings
from argparse import ArgumentParser
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
from yaml import YAMLError

from cardioemu.common.errors import UserError
from cardioemu.config.build import build
from cardioemu.config.compose import CONF, VERSION_BASE, describe_config_error, validate_command_line
from cardioemu.config.overrides import SEARCH_PATH, parallel_jobs
from cardioemu.config.run_config import open_run_to_resume
from cardioemu.runtime.machine import available_cores, rank

Run = Callable[[Any, DictConfig, Path], Any]
Sweep = Callable[[Any, Sequence[str]], AbstractContextManager[Sequence[str]]]


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Print warnings without the lines of code that they come from."""
    default, warnings.formatwarning = warnings.formatwarning, lambda message, *_, **__: f"{message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = default


@_short_warnings()
def launch(name: str, run: Run, schema: type[Any], *, sweep: Sweep | None = None, can_resume: bool = False) -> None:
    """Run a job as the command line asks.

    Args:
        name: of the job's config file.
        run: called with the settings, the config and the run folder of the job.
        schema: a pydantic dataclass of the config's top level.
        sweep: entered around a sweep with the settings of its first job and the overrides; yields overrides for all
            jobs. None: the job has no sweeps of its own.
        can_resume: whether `resume=FOLDER` opens the run in a run folder.
    """
    if rank() > 0:  # only the first of the processes that train together prints
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    try:
        sys.argv[1:] = _config_dir_as_override(sys.argv[1:])
        arguments = get_args_parser().parse_args()
        run_folder = dict(o.partition("=")[::2] for o in arguments.overrides).get("resume", "null")
        if arguments.cfg or arguments.info or arguments.help or arguments.hydra_help:
            _run_under_hydra(name, run, schema)
        elif can_resume and run_folder != "null":
            _resume(run_folder, arguments.overrides, arguments.multirun, run, schema)
        elif arguments.multirun:
            _sweep(name, arguments.overrides, run, schema, sweep)
        else:
            (job,) = validate_command_line(name, arguments.overrides, False, schema)
            with _remove_if_empty(job.folder):
                run(job.settings, job.config, job.folder)
    except (UserError, HydraException, OmegaConfBaseException, YAMLError) as error:  # the last three of --cfg, --info
        print(describe_config_error(error), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as error:
        print(str(error) or "stopped", file=sys.stderr)
        sys.exit(130)


def _config_dir_as_override(arguments: Sequence[str]) -> list[str]:
    """Replace `--config-dir DIR`, the user's own config folder, by an override that Hydra's compose knows too."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd", type=Path)
    known, others = parser.parse_known_args(arguments)
    if known.config_dir is None:
        return others
    if not known.config_dir.is_dir():
        raise UserError(f"--config-dir: got {known.config_dir}, which is not a folder")
    # Next to the other overrides: Hydra's parser refuses overrides that an option separates.
    place = next((i for i, text in enumerate(others) if "=" in text and not text.startswith("-")), len(others))
    return [*others[:place], f"{SEARCH_PATH}=[file://{known.config_dir.resolve()}]", *others[place:]]


def _resume(folder: str, overrides: Sequence[str], multirun: bool, run: Run, schema: type) -> None:
    if multirun:
        raise UserError("resume: a sweep cannot be resumed; resume its runs one by one, or repeat the sweep's command")
    # The saved config is complete: --config-dir adds nothing to it.
    changes = [o for o in overrides if not o.startswith(("resume=", f"{SEARCH_PATH}="))]
    config, path = open_run_to_resume(folder, changes)
    run(build(config, schema), config, path)


def _sweep(name: str, overrides: Sequence[str], run: Run, schema: type[Any], sweep: Sweep | None) -> None:
    jobs = validate_command_line(name, overrides, True, schema)
    if (simultaneous := parallel_jobs(overrides, len(jobs), available_cores())) > 1:
        # Joblib would divide the cores by the number of cores, also where fewer processes run.
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, available_cores() // simultaneous)))
    with sweep(jobs[0].settings, overrides) if sweep else nullcontext([]) as more:
        sys.argv += more
        _run_under_hydra(name, run, schema)


def _run_under_hydra(name: str, run: Run, schema: type) -> None:
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come through to us instead of ending in exit status 1

    @hydra.main(version_base=VERSION_BASE, config_path=str(CONF.resolve()), config_name=name)
    def run_job(config: DictConfig) -> Any:
        job = HydraConfig.get()
        folder = Path(job.runtime.output_dir)
        with _remove_if_empty(folder):
            try:
                return run(build(config, schema), config, folder)
            except Exception as error:
                if job.mode == RunMode.MULTIRUN:  # Hydra runs the other jobs and raises the first error at the end
                    print(f"job {job.job.num} failed: {error}", file=sys.stderr)
                raise

    run_job()


@contextmanager
def _remove_if_empty(folder: Path) -> Iterator[None]:
    """Remove a folder that the block leaves empty, and its parents that are then empty, inside the current folder."""
    try:
        yield
    finally:
        with suppress(OSError):  # not empty, not there, or another process was quicker
            os.removedirs(os.path.relpath(folder))
