"""Overrides of a command line: parsing, sweeps, and those that address no setting."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig

from cardioemu.common.errors import UserError, first_line, name_hint

SEARCH_PATH = "hydra.searchpath"


def parse(overrides: Sequence[str], sweep: bool) -> list[Override]:
    """Parse the overrides of a command line.

    Raises:
        UserError: an override cannot be parsed, or several values are given without -m.
    """
    parsed = []
    for line in overrides:
        try:
            parsed += OverridesParser.create().parse_overrides([line])
        except HydraException as error:
            raise UserError(f"{line}: cannot be parsed as setting=value ({first_line(error)})") from error
    swept = [raw_text(o) for o in parsed if o.is_sweep_override()]
    if swept and not sweep:
        raise UserError(f"{', '.join(swept)}: several values make a sweep; add -m, or write a list as [a,b]")
    return parsed


def raw_text(override: Override) -> str:
    """Return an override as the user typed it."""
    return str(override.input_line)


def expand_sweep(overrides: Sequence[Override]) -> list[list[str]]:
    """Return the overrides of every job of a sweep: all combinations of the swept values, the last fastest."""
    split: list[list[str]] = BasicSweeper.split_arguments(list(overrides), max_batch_size=None)[0]
    return split


def parallel_jobs(overrides: Sequence[str], jobs: int, cores: int) -> int:
    """Return how many jobs of a sweep run simultaneously: with joblib its `n_jobs` or one per core, else one."""
    values = dict(override.partition("=")[::2] for override in overrides)
    if values.get("hydra/launcher") != "joblib":
        return 1
    n_jobs = values.get("hydra.launcher.n_jobs", "")
    return min(jobs, int(n_jobs) if n_jobs.isdigit() and int(n_jobs) > 0 else cores)


def quote_value(value: str) -> str:
    """Quote a text so that Hydra reads it literally."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def sweep_overrides(overrides: Sequence[str]) -> Iterator[str]:
    """Yield the overrides with several values."""
    yield from (raw_text(o) for o in parse(overrides, sweep=True) if o.is_sweep_override())


def fixed_addresses(overrides: Sequence[str]) -> Iterator[str]:
    """Yield the addresses that a command line sets to one value in all jobs of a sweep."""
    addresses = {str(o.key_or_group): o.is_sweep_override() for o in parse(overrides, sweep=True)}  # the last counts
    yield from (address for address, is_swept in addresses.items() if not is_swept)


def unknown_overrides(conf: Path, name: str, overrides: Sequence[Override]) -> dict[str, str]:
    """Find every override that addresses no option or setting of a job's config file in `conf`.

    Folders of `hydra.searchpath` are searched too.

    Returns:
        Override as typed -> a sentence with the nearest known name.
    """
    paths = [str(path) for o in overrides if o.key_or_group == SEARCH_PATH for path in _values(o)[0]]
    options = _options_by_group([conf, *(Path(path.removeprefix("file://")) for path in paths)])
    problems, chosen = {}, []
    for o in overrides:
        if o.key_or_group in options and not o.is_delete():
            known = sorted(options[o.key_or_group])
            unknown = [value for value in _values(o) if value not in known]
            if unknown:
                problems[raw_text(o)] = f"{o.key_or_group}: got {unknown[0]!r}; it must be one of {', '.join(known)}"
            elif not o.is_sweep_override():
                chosen.append(raw_text(o))
        elif o.key_or_group == SEARCH_PATH:
            chosen.append(raw_text(o))
    addresses = _addresses(hydra.compose(name, overrides=chosen))
    for o in overrides:
        address = o.key_or_group
        if address in options or address in addresses or address.startswith(("hydra.", "hydra/")) or o.is_add():
            continue
        hint = name_hint(address, addresses, otherwise="--cfg job shows all settings")
        problems[raw_text(o)] = f"{address}: there is no such setting; {hint}"
    return problems


def _options_by_group(folders: Sequence[Path]) -> dict[str, set[str]]:
    options: dict[str, set[str]] = {}
    for folder in folders:
        for group in folder.rglob("*"):
            if group.is_dir():
                names = {path.stem for path in group.glob("*.yaml")}
                options.setdefault(group.relative_to(folder).as_posix(), set()).update(names)
    return options


def _values(override: Override) -> list[Any]:
    return [*override.sweep_iterator()] if override.is_sweep_override() else [override.value()]


def _addresses(config: DictConfig, prefix: str = "") -> list[str]:
    result = []
    for key, node in config.items_ex(resolve=False):
        address = prefix + str(key)
        result.append(address)
        if isinstance(node, DictConfig) and not node._is_none():
            result += _addresses(node, f"{address}.")
    return result
