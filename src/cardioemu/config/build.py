"""From a composed config to checked objects: the only place that calls Hydra's instantiate.

The annotations of a constructor are the schema: each value of a node with `_target_` is checked against the parameter
of its name, and all mistakes of a config are reported together.
"""

import inspect
import pkgutil
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

import hydra
from omegaconf import DictConfig, OmegaConf
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from cardioemu.common.errors import UserError, construct, format_validation_error, name_hint

Schema = TypeVar("Schema")


def resolved_dict(config: DictConfig) -> dict[str, Any]:
    """Return the resolved config as plain containers."""
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def build(config: DictConfig, schema: type[Schema]) -> Schema:
    """Check the composed config of a job and build its parts.

    The schema is a pydantic dataclass with one field per top-level key of the config.

    Raises:
        UserError: one sentence per mistake: address, value, what is allowed, the nearest known name.
    """
    missing = [f"{key}: this must be given, as {key}=..." for key in sorted(OmegaConf.missing_keys(config))]
    if missing:
        raise UserError("\n".join(missing))
    parts: dict[str, Any] = {}
    problems: list[str] = []
    for key, node in resolved_dict(config).items():
        try:
            parts[key] = _build_part(key, node)
        except UserError as error:
            problems += str(error).splitlines()
    problems += _validate_arguments(schema, parts, "")[1]
    if problems:
        raise UserError("\n".join(problems))
    return construct(schema, parts, "")


def _build_part(address: str, node: Any) -> Any:
    """Build a node with `_target_`: an object, or with `_partial_` a factory. Return any other node unchanged."""
    if not (isinstance(node, dict) and "_target_" in node):
        return node
    name = node["_target_"]
    try:
        target = pkgutil.resolve_name(name)
    except Exception as error:  # importing runs any code
        raise UserError(f"{address}._target_: got {name!r}; {' '.join(str(error).split())}") from error
    if not callable(target):
        raise UserError(f"{address}._target_: got {name!r}, which is no class and no function")
    arguments = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
    values, problems = _validate_arguments(target, arguments, f"{address}.")
    if problems:
        raise UserError("\n".join(problems))
    if node.get("_partial_"):
        return hydra.utils.instantiate({"_target_": name, "_partial_": True, "_convert_": "all"}, **values)
    return construct(target, values, address)


def _validate_arguments(target: Any, arguments: Mapping[str, Any], prefix: str) -> tuple[dict[str, Any], list[str]]:
    """Return the arguments of a constructor or function as its annotations have them, and what is wrong with them."""
    annotations = _annotations(target)
    values, problems = {}, []
    for key, value in arguments.items():
        if key not in annotations:
            problems.append(f"{prefix}{key}: there is no such setting; {name_hint(key, annotations, prefix)}")
            continue
        try:
            values[key] = _validate(annotations[key], value)
        except ValidationError as error:
            problems.append(format_validation_error(error.errors()[0], f"{prefix}{key}"))
    return values, problems


def _annotations(target: Any) -> dict[str, Any]:
    """Return the annotation of each parameter of a function, or of a class's constructor."""
    parameters = inspect.signature(target).parameters
    function = target.__init__ if inspect.isclass(target) else inspect.unwrap(target)
    hints = get_type_hints(target if hasattr(target, "__dataclass_fields__") else function, include_extras=True)
    return {name: hints.get(name, Any) for name in parameters}


def _validate(annotation: Any, value: Any) -> Any:
    try:
        adapter = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # the annotation is a model of its own and brings its own config
        adapter = TypeAdapter(annotation)
    return adapter.validate_python(value)
