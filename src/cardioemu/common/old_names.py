"""Names of earlier versions, by which old run folders and checkpoints still open."""

from collections.abc import Mapping
from typing import Any

TARGETS = {
    "cardioemu.active.Active": "cardioemu.training.ActiveLearning",
    "cardioemu.simulation.Engine": "cardioemu.simulation.Executor",
    "cardioemu.simulation.Simulator": "cardioemu.simulation.CellSettings",
    "cardioemu.simulation.Solver": "cardioemu.simulation.SolverSettings",
    "cardioemu.simulation.designs.file": "cardioemu.simulation.designs.from_file",
    "cardioemu.training.Figures": "cardioemu.training.PredictionPlots",
    "cardioemu.training.make_trainer": "cardioemu.training.TrainerSettings",
}
"""Old `_target_` of a config -> the present one."""

SETTINGS = {"cardioemu.simulation.Executor": {"engine": "executor"}}
"""By present `_target_`: old setting -> the present one."""

SPECIFICATION = {"settings": "network_arguments", "cell": "simulator_arguments", "windows": "windows_key"}
"""Old entry of a checkpoint's specification -> the present one."""

REMOVED_NETWORKS = {"GaussianProcess": "train model=registered instead, or compare with the baseline gaussian_process"}
"""Removed network that a checkpoint may name -> what to use instead."""


def rename_keys(content: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return a copy of a mapping with its old keys renamed."""
    return {names.get(key, key): value for key, value in content.items()}


def update_config(node: Any) -> Any:
    """Return a config, as plain containers, with the old names of its targets and their settings renamed."""
    if isinstance(node, list):
        return [update_config(value) for value in node]
    if not isinstance(node, dict):
        return node
    node = {key: update_config(value) for key, value in node.items()}
    if "_target_" in node:
        if node["_target_"] == "cardioemu.training.make_trainer":  # a factory before it was a class
            node.pop("_partial_", None)
        node["_target_"] = TARGETS.get(node["_target_"], node["_target_"])
        node = rename_keys(node, SETTINGS.get(node["_target_"], {}))
    return node
