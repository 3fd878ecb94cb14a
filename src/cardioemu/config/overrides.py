"""Overrides of a command line: parsing, sweeps, and those that address no setting."""

from collections.abc import Iterator, Sequence

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
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


def unknown_overrides(name: str, overrides: Sequence[Override]) -> dict[str, str]:
    """Find every override that addresses no option or setting of a job's config file; Hydra must be initialised.

    Returns:
        Override as typed -> a sentence with the nearest known name.
    """
    loader = GlobalHydra.instance().config_loader()
    search_path = [raw_text(o) for o in overrides if o.key_or_group == SEARCH_PATH]
    problems, chosen, groups = {}, list(search_path), set()
    for o in overrides:
        known = loader.get_group_options(o.key_or_group, config_name=name, overrides=search_path)
        if known:
            groups.add(o.key_or_group)
        if known and not o.is_delete():
            values = [*o.sweep_iterator()] if o.is_sweep_override() else [o.value()]
            unknown = [value for value in values if value not in known]
            if unknown:
                problems[raw_text(o)] = f"{o.key_or_group}: got {unknown[0]!r}; it must be one of {', '.join(known)}"
            elif not o.is_sweep_override():
                chosen.append(raw_text(o))
    addresses = _addresses(hydra.compose(name, overrides=chosen))
    for o in overrides:
        address = o.key_or_group
        if address in groups or address in addresses or address.startswith(("hydra.", "hydra/")) or o.is_add():
            continue
        hint = name_hint(address, addresses, otherwise="--cfg job shows all settings")
        problems[raw_text(o)] = f"{address}: there is no such setting; {hint}"
    return problems


def _addresses(config: DictConfig, prefix: str = "") -> list[str]:
    result = []
    for key, node in config.items_ex(resolve=False):
        address = prefix + str(key)
        result.append(address)
        if isinstance(node, DictConfig) and not node._is_none():
            result += _addresses(node, f"{address}.")
    return result
