"""From the command line to checked objects: the only place that calls Hydra's instantiate.

A constructor's own annotations are the schema: every value of a node with `_target_` is checked against the parameter
of its name, all mistakes of a config are told at once, and nothing is started before all jobs of a sweep are checked.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import hydra
from hydra._internal.utils import _locate
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from yaml import YAMLError

from cardioemu.common.errors import UserError, construct, first_line, format_validation_error, name_hint
from cardioemu.common.old_names import update_config
from cardioemu.config import overrides as command_line
from cardioemu.runtime.files import atomic_write

VERSION_BASE = "1.3"
CONFIG = "config.yaml"
CHANGEABLE = ("trainer", "evaluation", "tracking", "memory_check")
Schema = TypeVar("Schema")


def validate_command_line(
    conf: Path, name: str, overrides: Sequence[str], sweep: bool, schema: type[Schema]
) -> list[Schema]:
    """Composes and builds the settings of every job that a command line asks for: one, or all of a sweep.

    Raises:
        UserError: every mistake that can be seen before work starts, one sentence each.
    """
    parsed = command_line.parse(overrides, sweep)
    with _configs(conf):
        try:
            problems = command_line.unknown_overrides(conf, name, parsed)
        except HydraException as error:
            raise UserError(f"config: {first_line(error)}") from error
        known = [o for o in parsed if command_line.raw_text(o) not in problems]
        sentences, settings = list(problems.values()), []
        for job in command_line.expand_sweep(known) if sweep else [[command_line.raw_text(o) for o in known]]:
            try:
                settings.append(build(hydra.compose(name, overrides=job), schema))
            except UserError as error:
                sentences += str(error).splitlines()
            except (HydraException, OmegaConfBaseException) as error:
                sentences.append(f"config: {first_line(error)}")
    if sentences:
        raise UserError("\n".join(dict.fromkeys(sentences)))
    return settings


def compose_config(conf: Path, name: str, overrides: Sequence[str]) -> DictConfig:
    """Composes the config of one job."""
    with _configs(conf):
        return hydra.compose(name, overrides=list(overrides))


def _configs(conf: Path) -> AbstractContextManager[Any]:
    if GlobalHydra.instance().is_initialized():  # inside a job, which has them open
        return nullcontext()
    return hydra.initialize_config_dir(str(conf.resolve()), version_base=VERSION_BASE)


def build(config: DictConfig, schema: type[Schema]) -> Schema:
    """Checks a composed config and builds its parts; `schema` is a pydantic dataclass, one field per top-level key.

    Raises:
        UserError: one sentence per mistake: address, what it got, what is allowed, the nearest known name.
    """
    missing = [f"{key}: this must be given, as {key}=..." for key in sorted(OmegaConf.missing_keys(config))]
    if missing:
        raise UserError("\n".join(missing))
    problems: list[str] = []
    parts: dict[str, Any] = {}
    broken = set()
    for key, node in resolved_dict(config).items():
        try:
            parts[key] = _build_part(key, node)
        except UserError as error:
            problems += str(error).splitlines()
            broken.add(key)
    problems += _validation_errors(schema, parts, "")
    if problems or broken:
        raise UserError("\n".join(problems))
    return construct(schema, parts, "")


def _build_part(address: str, node: Any) -> Any:
    """Builds a node with `_target_`, ready or with arguments still to come (`_partial_`); leaves others as they are."""
    if not (isinstance(node, dict) and "_target_" in node):
        return node
    try:
        target = _locate(node["_target_"])
    except Exception as error:  # importing runs any code
        raise UserError(f"{address}._target_: got {node['_target_']!r}; {' '.join(str(error).split())}") from error
    if not callable(target):
        raise UserError(f"{address}._target_: got {node['_target_']!r}, which is no class and no function")
    arguments = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
    if problems := _validation_errors(target, arguments, f"{address}."):
        raise UserError("\n".join(problems))
    annotations = _annotations(target)
    checked = {key: _validate(annotations[key], value) for key, value in arguments.items()}
    if node.get("_partial_"):
        return hydra.utils.instantiate({"_target_": node["_target_"], "_partial_": True, "_convert_": "all"}, **checked)
    return construct(target, checked, address)


def _validation_errors(target: Any, arguments: Mapping[str, Any], prefix: str) -> list[str]:
    """Tells what is wrong with the arguments of a constructor or function, one sentence each."""
    annotations = _annotations(target)
    problems = []
    for key, value in arguments.items():
        if key not in annotations:
            problems.append(f"{prefix}{key}: there is no such setting; {name_hint(key, annotations, prefix)}")
            continue
        try:
            _validate(annotations[key], value)
        except ValidationError as error:
            problems.append(format_validation_error(error.errors()[0], f"{prefix}{key}"))
    return problems


def _annotations(target: Any) -> dict[str, Any]:
    """Parameter name -> annotation, for a class by its constructor."""
    parameters = inspect.signature(target).parameters
    function = target.__init__ if inspect.isclass(target) else inspect.unwrap(target)
    hints = get_type_hints(target if hasattr(target, "__dataclass_fields__") else function, include_extras=True)
    return {name: hints.get(name, Any) for name in parameters}


def _validate(annotation: Any, value: Any) -> Any:
    """Returns a value as its annotation has it; raises pydantic's ValidationError."""
    try:
        adapter = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # the annotation is a model of its own and brings its own config
        adapter = TypeAdapter(annotation)
    return adapter.validate_python(value)


def resolved_dict(config: DictConfig) -> dict[str, Any]:
    """Returns the resolved config as plain containers."""
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def with_overrides(config: DictConfig, values: Mapping[str, Any]) -> DictConfig:
    """Returns a copy of a config with other values at some addresses; a value replaces a whole node."""
    copy = config.copy()
    for address, value in values.items():
        OmegaConf.update(copy, address, value, merge=False)
    return copy


def save_run_config(config: DictConfig, folder: Path) -> None:
    """Writes the resolved config as `config.yaml` of a run folder, which it makes."""
    with atomic_write(folder / CONFIG) as file:
        file.write_text(OmegaConf.to_yaml(config, resolve=True), encoding="utf-8")


def check_same_run(config: DictConfig, folder: Path) -> None:
    """Sees to it that a run folder that is used again, by a job that was requeued say, is used for the same run.

    Raises:
        UserError: the run in it was begun with other settings than those that may change on the way.
    """
    if not (folder / CONFIG).is_file():
        return
    begun, now = (
        {k: v for k, v in resolved_dict(c).items() if k not in CHANGEABLE} for c in (load_run_config(folder), config)
    )
    for address, was, is_now in _differences(begun, now, ""):
        raise UserError(
            f"{address}: got {is_now!r}, but the run in {folder} was begun with {was!r}; give another folder, or "
            f"resume={folder}"
        )


def _differences(one: Any, other: Any, address: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from _differences(one.get(key), other.get(key), f"{address}.{key}".lstrip("."))
    elif one != other:
        yield address, one, other


def load_run_config(folder: Path) -> DictConfig:
    """Return the config of a run folder, its old names renamed."""
    config = OmegaConf.create(update_config(OmegaConf.to_container(OmegaConf.load(folder / CONFIG))))
    assert isinstance(config, DictConfig)
    return config


def open_run_to_resume(folder: str, overrides: Sequence[str]) -> tuple[DictConfig, Path]:
    """Returns the config a run was begun with, changed where a run may change on its way, and its folder.

    Raises:
        UserError: no such run folder, or an override of something that the run has already used.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise UserError(f"resume: got {folder}, which is no run folder (it has no {CONFIG})")
    config = load_run_config(path.parent)
    for override in overrides:
        address = override.partition("=")[0]
        known = OmegaConf.select(config, address, default=config)
        if address.split(".")[0] not in CHANGEABLE or isinstance(known, DictConfig):
            raise UserError(
                f"{address}: a run that has begun takes changes of single settings of {', '.join(CHANGEABLE)} only"
            )
        try:
            config.merge_with_dotlist([override])
            resolved_dict(config)
        except (OmegaConfBaseException, YAMLError) as error:
            raise UserError(f"{override}: this is no setting=value that can be read ({first_line(error)})") from error
    return config, path.parent.absolute()
