"""Runs a job under Hydra: everything checked before anything starts, mistakes told in sentences, exit status 2."""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cardioemu.config import VERSION_BASE, build, compose
from cardioemu.errors import UserError

Job = Callable[[DictConfig, Path], Any]
Sweep = Callable[[Any, Sequence[str]], AbstractContextManager[Sequence[str]]]


def launch(
    job: Job,
    conf: Path,
    schema: type,
    *,
    sweep: Sweep = lambda settings, overrides: nullcontext([]),
    resume: Callable[[str, Sequence[str]], tuple[DictConfig, Path]] | None = None,
) -> None:
    """Runs `job(config, run folder)` as the command line says: once, as a sweep, or resumed.

    Args:
        job: named as its config file; what it raises as UserError is told without a traceback.
        conf: folder of the config files.
        schema: a pydantic dataclass of the config's top level.
        sweep: entered around a sweep with the first job's settings and the overrides; yields overrides for its jobs.
        resume: from the run folder of `resume=FOLDER` and the other overrides to that run's config and folder.
    """
    name = job.__name__
    arguments = get_args_parser().parse_args()
    showing = arguments.cfg or arguments.info or arguments.hydra_help or arguments.help
    try:
        folder = next((o.partition("=")[2] for o in arguments.overrides if o.startswith("resume=")), "null")
        if resume and folder not in ("null", "") and not showing:
            if arguments.multirun:
                raise UserError("resume: a sweep cannot be resumed as one; resume its runs one by one")
            others = [o for o in arguments.overrides if not o.startswith("resume=")]
            job(*resume(folder, others))
            return
        jobs = compose(conf, name, arguments.overrides, sweep=arguments.multirun)
        settings: list[Any] = [build(config, schema) for config in jobs]
        entered = sweep(settings[0], arguments.overrides) if arguments.multirun and not showing else nullcontext([])
        with entered as more:
            sys.argv += more
            _run_under_hydra(job, conf, name)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def _run_under_hydra(job: Job, conf: Path, name: str) -> None:
    @hydra.main(version_base=VERSION_BASE, config_path=str(conf.resolve()), config_name=name)
    def task(config: DictConfig) -> Any:
        hydra_config = HydraConfig.get()
        folder = Path(hydra_config.runtime.output_dir)
        try:
            return job(config, folder)
        except UserError as error:
            if hydra_config.mode and hydra_config.mode.name == "MULTIRUN":
                raise  # Hydra records it for this job and goes on with the others
            print(error, file=sys.stderr)
            sys.exit(2)
        finally:
            if folder != Path.cwd() and not any(folder.iterdir()):  # nothing was written: a dry run, a mistake
                folder.rmdir()

    task()
