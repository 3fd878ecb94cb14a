"""Where an emulator comes from: its cell model, the cells it has seen, and the windows that it was trained on."""

from pathlib import Path

import numpy as np

from cardioemu.common.arrays import Scales
from cardioemu.common.errors import UserError, construct
from cardioemu.data import TEST, SplitRule, WindowDataModule
from cardioemu.emulator import Emulator
from cardioemu.simulation import CampaignSpec, Cell, CellSettings, Executor, SolverSettings, TraceStore, campaign
from cardioemu.windowing import build_window_set

ADDRESS = "checkpoint"  # where a user finds what is wrong with any of this


def load_training_cell(emulator: Emulator) -> Cell:
    """Loads the cell model whose traces an emulator was trained on.

    Raises:
        UserError: it is not there any more, or is another one by now.
    """
    said = emulator.specification
    cell = construct(CellSettings, said.simulator_arguments, ADDRESS).cell()
    if cell.digest != said.cell_sha256:
        raise UserError(
            f"checkpoint: it was trained on another {said.simulator_arguments['model']} than that of today; put the file back as it "
            "was, or train again"
        )
    return cell


def check_same_cell(one: Emulator, other: Emulator) -> None:
    """Sees to it that two emulators are of the same cell model, after the same transient.

    Raises:
        UserError: they are not, and cannot be measured on the same traces.
    """
    if one.specification.cell_sha256 != other.specification.cell_sha256:
        raise UserError(
            f"compare: got an emulator of {cell_model_name(other)}, beside one of "
            f"{cell_model_name(one)}{_alike(cell_model_name(one), cell_model_name(other))}; give emulators of the same cell"
        )
    if transient_s(one) != transient_s(other):
        raise UserError(
            f"compare: got an emulator trained on traces after {transient_s(other):g} s, beside one after "
            f"{transient_s(one):g} s; give emulators with the same simulator.transient_ms"
        )


def check_trace_store(store: TraceStore, emulator: Emulator) -> None:
    """Sees to it that a trace store holds cells of an emulator's own kind.

    Raises:
        UserError: they are of another cell model, variant, pacing, or set of scaled conductances, or begin earlier or
            later in the life of the cells.
    """
    said, facts = emulator.specification, store.metadata
    if list(store.scaled) != said.scaled:
        raise UserError(
            f"traces: got {store.folder}, whose cells are scaled in {', '.join(store.scaled)}, but the emulator was "
            f"trained on cells scaled in {', '.join(said.scaled)}; give traces of such cells"
        )
    if facts.get("cell_sha256") != said.cell_sha256:
        stored = _name(facts["cell"], facts["variant"])
        raise UserError(
            f"traces: got {store.folder} of {stored}, but the emulator was trained on "
            f"{cell_model_name(emulator)}{_alike(stored, cell_model_name(emulator))}; give traces of that cell, or leave traces null to "
            "have them simulated"
        )
    begin_s, learnt_s = facts["transient_ms"] / 1000, transient_s(emulator)
    if begin_s != learnt_s:
        raise UserError(
            f"traces: got {store.folder}, which begin after {begin_s:g} s, but the emulator was trained on some after "
            f"{learnt_s:g} s; give traces with the same simulator.transient_ms, or leave traces null to have them "
            "simulated"
        )


def transient_s(emulator: Emulator) -> float:
    """Returns how long the cells of an emulator had been simulated when their traces began."""
    return float(emulator.specification.simulator_arguments["transient_ms"]) / 1000


def _alike(one: str, other: str) -> str:
    return " with other parameters, pacing or scaled constants" if one == other else ""


def cell_model_name(emulator: Emulator) -> str:
    """Names the cell model of an emulator."""
    said = emulator.specification.simulator_arguments
    return _name(Path(said["model"]).stem, said["variant"])


def _name(cell: str, variant: str | None) -> str:
    return f"{cell} (variant {variant})" if variant else cell


def in_training_design(emulator: Emulator, scales: Scales) -> np.ndarray:
    """Returns whether each cell (cells,) has the scales of one that the emulator was trained or chosen on."""
    said = emulator.specification
    design = said.design.numpy()
    used = construct(SplitRule, said.split, ADDRESS).assign(design) != TEST
    known = {row.tobytes() for row in np.unique(design[used], axis=0)}
    return np.array([row.tobytes() in known for row in scales], dtype=bool)


def training_windows(emulator: Emulator, cell: Cell, data_dir: Path, executor: Executor) -> WindowDataModule:
    """Opens the windows that an emulator was trained on, simulated and cut again where they are not there.

    Args:
        emulator: the emulator.
        cell: its cell model (`cell_of`).
        data_dir: where traces and windows are kept.
        executor: where cells are simulated.
    """
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
