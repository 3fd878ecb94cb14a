"""Compose configs of `conf/` and command lines, and check every job of a command line before any work starts."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from cardioemu.common.errors import UserError, first_line
from cardioemu.config.build import build
from cardioemu.config.overrides import expand_sweep, parse, raw_text, unknown_overrides

VERSION_BASE = "1.3"
COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException, YAMLError, ValueError)  # Hydra raises all of them
CONF = Path(__file__).parent.parent / "conf"


class Job(NamedTuple):
    """One job of a command line: its config without Hydra's own node, its run folder, its settings.

    The folder is that of a job which is not part of a sweep.
    """

    config: DictConfig
    folder: Path
    settings: Any


def compose_config(name: str, overrides: Sequence[str]) -> tuple[DictConfig, Path]:
    """Compose the config of one job, by the name of its file in `conf/`; return it and the run folder."""
    with _open_conf():
        config = hydra.compose(name, overrides=list(overrides), return_hydra_config=True)
    folder = Path(config.hydra.run.dir).absolute()
    with open_dict(config):
        del config["hydra"]
    return config, folder


def validate_command_line(name: str, overrides: Sequence[str], sweep: bool, schema: type) -> list[Job]:
    """Compose and build every job of a command line: one, or all of a sweep.

    Raises:
        UserError: every mistake that can be found before work starts, one sentence each.
    """
    parsed = parse(overrides, sweep)
    try:
        return _build_jobs(name, parsed, sweep, schema)
    except UserError:
        raise
    except COMPOSITION_ERRORS as error:
        sentences = [describe_config_error(error)]
    try:
        with _open_conf():
            unknown = unknown_overrides(name, parsed)
        if unknown:  # the other overrides may be wrong too
            sentences = [*unknown.values()]
            _build_jobs(name, [o for o in parsed if raw_text(o) not in unknown], sweep, schema)
    except COMPOSITION_ERRORS as error:
        sentences += describe_config_error(error).splitlines()
    raise UserError("\n".join(dict.fromkeys(sentences)))


def describe_config_error(error: Exception) -> str:
    """Return the sentences of a UserError, or one sentence on what Hydra, OmegaConf or YAML refuses."""
    if isinstance(error, UserError):
        return str(error)
    # The lines after the first of YAML's message name the file.
    return f"config: {' '.join(str(error).split()) if isinstance(error, YAMLError) else first_line(error)}"


def _build_jobs(name: str, parsed: Sequence[Override], sweep: bool, schema: type) -> list[Job]:
    jobs, sentences = [], []
    for overrides in expand_sweep(parsed) if sweep else [[raw_text(o) for o in parsed]]:
        config, folder = compose_config(name, overrides)
        try:
            jobs.append(Job(config, folder, build(config, schema)))
        except UserError as error:
            sentences += str(error).splitlines()
    if sentences:
        raise UserError("\n".join(dict.fromkeys(sentences)))
    return jobs


def _open_conf() -> AbstractContextManager[Any]:
    if GlobalHydra.instance().is_initialized():  # in a job of a sweep
        return nullcontext()
    return hydra.initialize_config_dir(str(CONF.resolve()), version_base=VERSION_BASE)
