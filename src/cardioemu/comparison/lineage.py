"""The origin of an emulator: its cell model, its training cells and its training windows."""

from pathlib import Path

import numpy as np

from cardioemu.common.arrays import Scales
from cardioemu.common.errors import UserError, construct
from cardioemu.data import TEST, SplitRule, WindowDataModule
from cardioemu.emulator import Emulator
from cardioemu.simulation import CampaignSpec, Cell, CellSettings, Executor, SolverSettings, TraceStore, campaign
from cardioemu.windowing import build_window_set

ADDRESS = "checkpoint"  # the setting that messages about the origin name


def load_training_cell(emulator: Emulator) -> Cell:
    """Load the cell model whose traces an emulator was trained on.

    Raises:
        UserError: the model file is missing or has changed.
    """
    specification = emulator.specification
    cell = construct(CellSettings, specification.simulator_arguments, ADDRESS).cell
    if cell.digest != specification.cell_sha256:
        raise UserError(
            f"checkpoint: the cell model {specification.simulator_arguments['model']} has changed since this emulator "
            "was trained; restore the file, or train again"
        )
    return cell


def check_same_cell(one: Emulator, other: Emulator) -> None:
    """Raise a UserError if the cell models or transients differ: emulators are measured on the same traces."""
    if one.specification.cell_sha256 != other.specification.cell_sha256:
        names = cell_model_name(one), cell_model_name(other)
        raise UserError(
            f"compare: got emulators of {names[0]} and of {names[1]}{_hidden_difference(*names)}; give emulators of "
            "the same cell"
        )
    if transient_s(one) != transient_s(other):
        raise UserError(
            f"compare: got emulators trained on traces after {transient_s(one):g} s and after "
            f"{transient_s(other):g} s; give emulators with the same simulator.transient_ms"
        )


def check_trace_store(store: TraceStore, emulator: Emulator) -> None:
    """Raise a UserError if the traces differ from those that an emulator was trained on.

    Compared are the cell model, variant, pacing, scaled conductances and transient.
    """
    specification, facts = emulator.specification, store.metadata
    simulate = "give other traces, or set traces=null to simulate them"
    if list(store.scaled) != specification.scaled:
        raise UserError(
            f"traces: got {store.folder} with the scaled conductances {', '.join(store.scaled)}, but the emulator was "
            f"trained with {', '.join(specification.scaled)}; {simulate}"
        )
    if facts.get("cell_sha256") != specification.cell_sha256:
        names = _name(facts["cell"], facts["variant"]), cell_model_name(emulator)
        raise UserError(
            f"traces: got {store.folder} of {names[0]}, but the emulator was trained on "
            f"{names[1]}{_hidden_difference(*names)}; {simulate}"
        )
    if facts["transient_ms"] / 1000 != transient_s(emulator):
        raise UserError(
            f"traces: got {store.folder}, which begins after {facts['transient_ms'] / 1000:g} s, but the emulator was "
            f"trained on traces that begin after {transient_s(emulator):g} s (simulator.transient_ms); {simulate}"
        )


def transient_s(emulator: Emulator) -> float:
    """Return how long the cells of an emulator were simulated before their traces began, in s."""
    return float(emulator.specification.simulator_arguments["transient_ms"]) / 1000


def _hidden_difference(one: str, other: str) -> str:
    return " with other parameters, pacing or scaled constants" if one == other else ""


def cell_model_name(emulator: Emulator) -> str:
    """Return the name and variant of an emulator's cell model."""
    simulator = emulator.specification.simulator_arguments
    return _name(Path(simulator["model"]).stem, simulator["variant"])


def _name(model: str, variant: str | None) -> str:
    return f"{model} (variant {variant})" if variant else model


def in_training_design(emulator: Emulator, scales: Scales) -> np.ndarray:
    """Return whether each cell has the scales of a training or validation cell of an emulator (cells,)."""
    design = emulator.specification.design.numpy()
    used = construct(SplitRule, emulator.specification.split, ADDRESS).assign(design) != TEST
    used_vectors = {vector.tobytes() for vector in np.unique(design[used], axis=0)}
    return np.array([vector.tobytes() in used_vectors for vector in scales], dtype=bool)


def training_windows(emulator: Emulator, cell: Cell, data_dir: Path, executor: Executor) -> WindowDataModule:
    """Open the windows that an emulator was trained on; simulate and extract them again if they are missing."""
    specification = emulator.specification
    simulator = specification.simulator_arguments
    spec = CampaignSpec(
        cell,
        specification.design.numpy(),
        simulator["duration_ms"],
        construct(SolverSettings, specification.solver, ADDRESS),
        data_dir / "traces",
        executor,
        simulator["record"],
        simulator["transient_ms"],
    )
    windows = build_window_set(campaign(spec), emulator.window, data_dir / "windows")
    return WindowDataModule(windows, construct(SplitRule, specification.split, ADDRESS))
