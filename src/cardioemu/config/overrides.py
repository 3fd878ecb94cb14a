"""The command line against the config files: which overrides address nothing, in sentences."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig

from cardioemu.common.errors import UserError, first_line, suggest_name


def parse(overrides: Sequence[str], sweep: bool) -> list[Override]:
    """Parses the overrides of a command line.

    Raises:
        UserError: one that does not parse, or asks for a sweep without -m.
    """
    parsed = []
    for line in overrides:
        try:
            parsed += OverridesParser.create().parse_overrides([line])
        except HydraException as error:
            raise UserError(f"{line}: this is no setting=value that Hydra understands ({first_line(error)})") from error
    swept = [raw_text(o) for o in parsed if o.is_sweep_override()]
    if swept and not sweep:
        raise UserError(f"{', '.join(swept)}: several values are a sweep; add -m, or write a list as [a,b]")
    return parsed


def raw_text(override: Override) -> str:
    """Returns an override as it was typed."""
    return str(override.input_line)


def expand_sweep(overrides: Sequence[Override]) -> list[list[str]]:
    """Returns the overrides of every job of a sweep: all combinations of the swept values, the last fastest."""
    split: list[list[str]] = BasicSweeper.split_arguments(list(overrides), max_batch_size=None)[0]
    return split


def parallel_jobs(overrides: Sequence[str], jobs: int, cores: int) -> int:
    """Returns how many jobs of a sweep run at once: one, or with joblib what it is told, else as many as cores."""
    chosen = dict(override.partition("=")[::2] for override in overrides)
    if chosen.get("hydra/launcher") != "joblib":
        return 1
    told = chosen.get("hydra.launcher.n_jobs", "")
    return min(jobs, int(told) if told.isdigit() and int(told) > 0 else cores)


def quote_value(value: str) -> str:
    """Writes a text so that Hydra takes it as it stands."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def sweep_overrides(overrides: Sequence[str]) -> Iterator[str]:
    """Yields the overrides that make a command line a sweep."""
    yield from (raw_text(o) for o in parse(overrides, sweep=True) if o.is_sweep_override())


def fixed_addresses(overrides: Sequence[str]) -> Iterator[str]:
    """Yields the addresses that a command line sets alike in all jobs of a sweep."""
    addresses = {str(o.key_or_group): o.is_sweep_override() for o in parse(overrides, sweep=True)}  # the last counts
    yield from (address for address, is_swept in addresses.items() if not is_swept)


def unknown_overrides(conf: Path, name: str, overrides: Sequence[Override]) -> dict[str, str]:
    """Finds every override that addresses no option or setting: as typed -> a sentence with the nearest known name."""
    groups = {str(p.relative_to(conf)): sorted(o.stem for o in p.glob("*.yaml")) for p in conf.rglob("*") if p.is_dir()}
    problems = {}
    chosen = []
    for o in overrides:
        if o.key_or_group in groups and not o.is_delete():
            options = groups[o.key_or_group]
            wrong = [value for value in _values(o) if value not in options]
            if wrong:
                problems[raw_text(o)] = f"{o.key_or_group}: got {wrong[0]!r}; it must be one of {', '.join(options)}"
            elif not o.is_sweep_override():
                chosen.append(raw_text(o))
    known = _addresses(hydra.compose(name, overrides=chosen))
    for o in overrides:
        address = o.key_or_group
        if address in groups or address in known or address.startswith(("hydra.", "hydra/")) or o.is_add():
            continue
        meant = suggest_name(address, known) or "--cfg job shows all settings"
        problems[raw_text(o)] = f"{address}: there is no such setting; {meant}"
    return problems


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
