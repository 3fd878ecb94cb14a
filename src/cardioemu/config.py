"""From the command line to checked objects: the only place that calls Hydra's instantiate.

A constructor's own annotations are the schema: every value of a node with `_target_` is checked against the parameter
of its name, all mistakes of a config are told at once, and nothing is started before all jobs of a sweep are checked.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from cardioemu.errors import UserError
from cardioemu.storage import atomic

VERSION_BASE = "1.3"
CONFIG = "config.yaml"
CHANGEABLE = ("trainer", "evaluation", "tracking")
Schema = TypeVar("Schema")


def compose(folder: Path, name: str, overrides: Sequence[str], sweep: bool = False) -> list[DictConfig]:
    """Composes the config of every job that the command line asks for: one, or all of a sweep.

    Raises:
        UserError: overrides that do not parse, name no setting or option, or ask for a sweep without -m.
    """
    with hydra.initialize_config_dir(str(folder.resolve()), version_base=VERSION_BASE):
        try:
            parsed = OverridesParser.create().parse_overrides(list(overrides))
        except HydraException as error:
            raise UserError(f"command line: {_first_line(error)}") from error
        if not sweep and (sweeps := [str(o.input_line) for o in parsed if o.is_sweep_override()]):
            raise UserError(f"{', '.join(sweeps)}: several values are a sweep; add -m, or quote a list as [a,b]")
        _refuse_unknown(folder, name, parsed)
        jobs = BasicSweeper.split_arguments(parsed, max_batch_size=None)[0] if sweep else [list(overrides)]
        try:
            return [hydra.compose(name, overrides=job) for job in jobs]
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(f"config: {_first_line(error)}") from error


def _refuse_unknown(folder: Path, name: str, overrides: Sequence[Override]) -> None:
    """Names every override that addresses nothing, with the nearest name that exists."""
    groups = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_dir()}
    chosen = [str(o.input_line) for o in overrides if o.key_or_group in groups]
    problems = []
    for o in overrides:
        if o.key_or_group in groups:
            options = sorted(p.stem for p in (folder / o.key_or_group).glob("*.yaml"))
            values = [str(v) for v in o.sweep_iterator()] if o.is_sweep_override() else [o.value()]
            problems += [
                f"{o.key_or_group}: got {v!r}, allowed is one of {', '.join(options)}"
                for v in values
                if v not in options and v is not None
            ]
    if not problems:
        known = _addresses(hydra.compose(name, overrides=[line for line in chosen if "," not in line]))
        for o in overrides:
            address = o.key_or_group
            if address in groups or address in known or address.startswith("hydra.") or o.is_add():
                continue
            close = get_close_matches(address, known, n=1, cutoff=0.6)
            hint = f"; did you mean {close[0]}?" if close else f"; `--cfg job` shows all settings of {name}"
            problems.append(f"{address}: there is no such setting{hint}")
    if problems:
        raise UserError("\n".join(problems))


def _addresses(config: DictConfig, prefix: str = "") -> list[str]:
    result = []
    for key, node in config.items_ex(resolve=False):
        result.append(f"{prefix}{key}")
        if isinstance(node, DictConfig) and not node._is_none():
            result += _addresses(node, f"{prefix}{key}.")
    return result


def build(config: DictConfig | ListConfig, schema: type[Schema]) -> Schema:
    """Checks a composed config and builds its parts; `schema` is a pydantic dataclass, one field per top-level key.

    Raises:
        UserError: one sentence per mistake: address, what it got, what is allowed, the nearest known name.
    """
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(f"config: {_first_line(error)}") from error
    assert isinstance(plain, dict)
    problems: list[str] = []
    parts = {}
    for key, node in plain.items():
        try:
            parts[str(key)] = _build_part(str(key), node)
        except UserError as error:
            problems.append(str(error))
    broken = {problem.split(":")[0].split(".")[0] for problem in "\n".join(problems).splitlines()}
    problems += _mistakes(schema, parts, "", skip=broken)
    if problems:
        raise UserError("\n".join(problems))
    return schema(**parts)


def _build_part(address: str, node: Any) -> Any:
    """Builds a node with `_target_`, ready or with arguments still to come (`_partial_`); leaves others as they are."""
    if not (isinstance(node, dict) and "_target_" in node):
        return node
    target = hydra.utils.get_object(node["_target_"])
    arguments = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
    if problems := _mistakes(target, arguments, f"{address}."):
        raise UserError("\n".join(problems))
    checked = {key: _adapter(_annotations(target)[key]).validate_python(value) for key, value in arguments.items()}
    made = {"_target_": node["_target_"], "_partial_": node.get("_partial_", False), "_convert_": "all"}
    try:
        return hydra.utils.instantiate(made, **checked)
    except HydraException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise UserError(str(cause)) from error
        if isinstance(cause, ValueError):
            raise UserError(f"{address}: {_first_line(cause)}") from error
        raise


def _mistakes(target: Any, arguments: Mapping[str, Any], prefix: str, skip: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
    """Tells what is wrong with the arguments of a constructor or function, one sentence each."""
    annotations = _annotations(target)
    problems = []
    for key, value in arguments.items():
        if key in skip:
            continue
        if key not in annotations:
            close = get_close_matches(key, annotations, n=1)
            hint = f"did you mean {prefix}{close[0]}?" if close else f"known are {', '.join(annotations)}"
            problems.append(f"{prefix}{key}: there is no such setting; {hint}")
            continue
        try:
            _adapter(annotations[key]).validate_python(value)
        except ValidationError as error:
            first = error.errors()[0]
            where = "".join(f"[{part}]" for part in first["loc"] if isinstance(part, int))
            said = first["msg"].removeprefix("Value error, ")
            problems.append(f"{prefix}{key}{where}: got {first['input']!r}; {said[0].lower()}{said[1:]}")
    return problems


def _annotations(target: Any) -> dict[str, Any]:
    """Parameter name -> annotation, for a class by its constructor."""
    parameters = inspect.signature(target).parameters
    function = target.__init__ if inspect.isclass(target) else inspect.unwrap(target)
    hints = get_type_hints(target if hasattr(target, "__dataclass_fields__") else function, include_extras=True)
    return {name: hints.get(name, Any) for name in parameters}


def _adapter(annotation: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # the annotation is a model of its own and brings its own config
        return TypeAdapter(annotation)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def save(config: DictConfig, folder: Path) -> None:
    """Writes the resolved config as `config.yaml` of a run folder, which it makes."""
    with atomic(folder / CONFIG) as file:
        file.write_text(OmegaConf.to_yaml(config, resolve=True), encoding="utf-8")


def reopen(folder: str, overrides: Sequence[str]) -> tuple[DictConfig, Path]:
    """Returns the config a run was begun with, changed where a run may change on its way, and its folder.

    Raises:
        UserError: no such run folder, or an override of something that the run has already used.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise UserError(f"resume: got {folder}, which is no run folder (it has no {CONFIG})")
    config = OmegaConf.load(path)
    assert isinstance(config, DictConfig)
    OmegaConf.set_struct(config, True)
    for override in overrides:
        address = override.partition("=")[0]
        if address.split(".")[0] not in CHANGEABLE or "." not in address or OmegaConf.select(config, address) is None:
            raise UserError(f"{address}: a run that has begun takes changes of {', '.join(CHANGEABLE)} settings only")
        config.merge_with_dotlist([override])
    return config, path.parent


def plain(config: DictConfig) -> dict[str, Any]:
    """Returns the resolved config as plain containers."""
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def sweep_values(overrides: Sequence[str]) -> Iterator[str]:
    """Yields the overrides that make a command line a sweep."""
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if override.is_sweep_override():
            yield str(override.input_line)
