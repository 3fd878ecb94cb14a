"""Active learning: an emulator selects the cells that are simulated next."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from jaxtyping import Float64
from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from cardioemu.common.arrays import Scales
from cardioemu.common.errors import UserError
from cardioemu.emulator import Emulator
from cardioemu.runtime.files import atomic_write
from cardioemu.simulation import design

DESIGN_FILE = "design.parquet"
NEEDS_ENSEMBLE = (
    "model: active learning needs an ensemble that predicts which cells fire; choose a network with both, such as "
    "model=registered, and set model.members=2 or more"
)


@dataclass(frozen=True)
class ActiveLearning:
    """How a design grows: in each round an emulator is trained and selects more cells from many candidates.

    Attributes:
        rounds: number of rounds, which all add the same number of cells; 0: none.
        cells: number of cells in the final design.
        max_epochs: epochs of the training in each round; `trainer.max_epochs` is for the final training.
        candidates: number of candidates: a Sobol sequence over the box that the first design spans.
        boundary: fraction of the selected cells that are drawn by the uncertainty of whether they fire. The others are
            drawn from the cells that most likely fire, by the disagreement of the ensemble's members.
        seed: of candidates and draws.
    """

    rounds: NonNegativeInt
    cells: PositiveInt
    max_epochs: PositiveInt
    candidates: PositiveInt
    boundary: Annotated[float, Field(ge=0, le=1)]
    seed: NonNegativeInt

    def design_sizes(self, begin: int) -> list[int]:
        """Return the number of cells of each training, from the first to the final one.

        Raises:
            UserError: the first design is already large enough, or there are too few candidates.
        """
        if begin >= self.cells:
            raise UserError(
                f"active.cells: got {self.cells}, but the first design already has {begin}; increase it, or use a "
                "smaller design"
            )
        if self.candidates < self.cells - begin:
            raise UserError(
                f"active.candidates: got {self.candidates}, but {self.cells - begin} of them are to be selected; "
                "increase it"
            )
        return np.linspace(begin, self.cells, self.rounds + 1).round().astype(int).tolist()

    def select(self, emulator: Emulator, scales: Scales, count: int) -> Float64[np.ndarray, "count scaled"]:
        """Select cells to simulate next.

        Args:
            emulator: trained on the present cells; an ensemble that predicts which cells fire.
            scales: of the present cells (cells, scaled).
            count: number of cells to select.

        Returns:
            (count, scaled).

        Raises:
            UserError: the emulator has no such outputs.
        """
        names, present = emulator.specification.scaled, len(scales)
        ends = zip(scales.min(axis=0).tolist(), scales.max(axis=0).tolist(), strict=True)
        ranges = {name: end for name, end in zip(names, ends, strict=True) if end[0] < end[1]}
        candidates = design("sobol", n=self.candidates, seed=self.seed + present, scaled=names, ranges=ranges)
        constant = scales.min(axis=0) == scales.max(axis=0)
        candidates[:, constant] = scales[0, constant]
        fires, disagreement = emulator.fires_probability(candidates), emulator.epistemic_std(candidates)
        if fires is None or disagreement is None:
            raise UserError(NEEDS_ENSEMBLE)
        random = np.random.default_rng((self.seed, present))
        at_boundary = _draw(random, fires * (1 - fires), round(self.boundary * count))
        others = np.setdiff1d(np.arange(len(candidates)), at_boundary)
        weights = np.where(fires >= 0.5, disagreement, 0.0)[others]
        firing = others[_draw(random, weights, count - len(at_boundary))]
        return candidates[np.concatenate([at_boundary, firing])]


def _draw(random: np.random.Generator, weights: np.ndarray, count: int) -> np.ndarray:
    """Draw indices without replacement, in proportion to weights; once all positive weights are used, evenly."""
    positive = weights > 0
    least = weights[positive].min(initial=1.0) * 1e-9
    filled = np.where(positive, weights, least)
    return random.choice(len(weights), count, replace=False, p=filled / filled.sum())


def grow_design(
    active: ActiveLearning, scales: Scales, scaled: Sequence[str], folder: Path, train: Callable[[Path, Path], Emulator]
) -> Path:
    """Grow a design round by round; finished rounds in the folder are reused.

    Args:
        active: how the design grows.
        scales: of the first design (cells, scaled).
        scaled: names of the conductances.
        folder: of the run; each round has its own folder below it.
        train: trains on the design in a file, in a run folder, or loads the emulator that was trained there before.

    Returns:
        The file of the final design.
    """
    for number, count in enumerate(np.diff(active.design_sizes(len(scales))).tolist(), 1):
        round_folder = folder / "rounds" / str(number)
        emulator = train(_write_design(scales, scaled, round_folder), round_folder)
        scales = np.concatenate([scales, active.select(emulator, scales, count)])
    return _write_design(scales, scaled, folder)


def _write_design(scales: Scales, scaled: Sequence[str], folder: Path) -> Path:
    with atomic_write(folder / DESIGN_FILE) as file:
        pd.DataFrame(scales, columns=list(scaled)).to_parquet(file)
    return folder / DESIGN_FILE
