"""Where an emulator comes from: its cell model, the cells it has seen, and the windows that it was trained on."""

from pathlib import Path

import numpy as np

from cardioemu.data import TEST, SplitRule, WindowData
from cardioemu.emulator import Emulator
from cardioemu.errors import UserError
from cardioemu.simulation import Cell, Engine, Simulator, Solver, TraceStore, campaign
from cardioemu.types import Scales
from cardioemu.windowing import window_set


def cell_of(emulator: Emulator) -> Cell:
    """Loads the cell model whose traces an emulator was trained on.

    Raises:
        UserError: it is not there any more, or is another one by now.
    """
    said = emulator.specification
    cell = Simulator(**said.cell).cell()
    if cell.digest != said.model_sha256:
        raise UserError(
            f"checkpoint: it was trained on another {said.cell['model']} than that of today; put the file back as it "
            "was, or train again"
        )
    return cell


def check_same_cell(one: Emulator, other: Emulator) -> None:
    """Sees to it that two emulators are of the same cell model.

    Raises:
        UserError: they are not, and cannot be measured on the same cells.
    """
    if one.specification.model_sha256 != other.specification.model_sha256:
        raise UserError(
            f"compare: got an emulator of {named(other)}, beside one of {named(one)}; give emulators of the same cell"
        )


def check_store(store: TraceStore, emulator: Emulator) -> None:
    """Sees to it that a trace store holds cells of an emulator's own kind.

    Raises:
        UserError: they are of another cell model, variant, or set of scaled conductances.
    """
    said, facts = emulator.specification, store.facts
    if list(store.scaled) != said.scaled:
        raise UserError(
            f"traces: got {store.folder}, whose cells are scaled in {', '.join(store.scaled)}, but the emulator was "
            f"trained on cells scaled in {', '.join(said.scaled)}; give traces of such cells"
        )
    if facts["model_sha256"] != said.model_sha256:
        variant = f" (variant {facts['variant']})" if facts["variant"] else ""
        raise UserError(
            f"traces: got {store.folder} of {facts['cell']}{variant}, but the emulator was trained on "
            f"{named(emulator)}; give traces of that cell, or leave traces null to have them simulated"
        )


def named(emulator: Emulator) -> str:
    """Names the cell model of an emulator."""
    said = emulator.specification.cell
    variant = f" (variant {said['variant']})" if said["variant"] else ""
    return f"{Path(said['model']).stem}{variant}"


def seen(emulator: Emulator, scales: Scales) -> np.ndarray:
    """Returns whether each cell (cells,) has the scales of one that the emulator was trained or chosen on."""
    said = emulator.specification
    design = said.design.numpy()
    used = SplitRule(**said.split).parts(design) != TEST
    known = {row.tobytes() for row in np.unique(design[used], axis=0)}
    return np.array([row.tobytes() in known for row in scales], dtype=bool)


def trained_on(emulator: Emulator, data_dir: Path, engine: Engine) -> WindowData:
    """Opens the windows that an emulator was trained on, simulated and cut again where they are not there."""
    said = emulator.specification
    duration_ms, record = said.cell["duration_ms"], said.cell["record"]
    design = said.design.numpy()
    traces = campaign(
        cell_of(emulator), design, duration_ms, Solver(**said.solver), data_dir / "traces", engine, record
    )
    return WindowData(window_set(traces, emulator.window, data_dir / "windows"), SplitRule(**said.split))
