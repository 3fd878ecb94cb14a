"""Settings of a run that MLflow shows as params; the artifact config.yaml has all settings."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cardioemu.tracking.provenance import NOT_IN_KEY

ALWAYS = (
    *("sweep", "model", "model.hidden", "model.width", "model.members", "optimizer.lr", "trainer.max_epochs"),
    *("design", "design.n", "seed"),
)
SETTING = re.compile(r"\+*([\w.]+)=(.*)", re.DOTALL)


def select_params(config: Mapping[str, Any], arguments: Sequence[str], run_name: str) -> dict[str, Any]:
    """Return the settings by which people filter runs: `ALWAYS`, those of the command line, and those of a sweep.

    A sweep or search gives its settings in the name of the run.
    """
    settings = flatten(config)
    matches = [match for argument in arguments if (match := SETTING.fullmatch(argument))]
    given = {match[1]: match[2] for match in matches}
    params = {name: settings[name] for name in ALWAYS if name in settings}
    for address, text in (given | parse_run_name(run_name)).items():
        root = address.split(".")[0]
        if root == "experiment" or (root in config and root not in NOT_IN_KEY):
            is_group = isinstance(config.get(address), Mapping)
            params[address] = text if is_group else settings.get(address, text)
    return params


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings to dotted names; `_target_` gives the name of its class or function.

    {"model": {"_target_": "cardioemu.models.MLP", "width": 8}} -> {"model": "MLP", "model.width": 8}
    """
    result: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            result |= flatten(value, f"{prefix}{key}.")
        elif key == "_target_":
            result[prefix.rstrip(".")] = str(value).rpartition(".")[2]
        else:
            result[f"{prefix}{key}"] = value
    return result


def parse_run_name(name: str) -> dict[str, str]:
    """Return the settings that the name of a run in a sweep consists of.

    "model.hidden=32,betas=[0.9,0.99]" -> {"model.hidden": "32", "betas": "[0.9,0.99]"}
    """
    parts = re.split(r",(?![^\[({]*[\])}])", name)
    return dict(part.partition("=")[::2] for part in parts if "=" in part)
