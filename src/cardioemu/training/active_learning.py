"""Active learning: an emulator says which cells should be simulated next."""

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

DESIGN = "design.parquet"
CANNOT_CHOOSE = (
    "model: active learning needs an ensemble that tells which cells fire; give model.members=2 or more of a network "
    "that has both"
)


@dataclass(frozen=True)
class ActiveLearning:
    """How a design grows: round after round an emulator is trained, and chooses more cells from many candidates.

    Attributes:
        rounds: how often cells are chosen, as many each time; 0: never.
        cells: how many there are at the end; the design says with how many it begins.
        max_epochs: of the training in each round; that of the last emulator is `trainer.max_epochs`.
        candidates: how many cells are chosen from: a Sobol sequence over the box that the design spans.
        boundary: fraction of the chosen cells that are drawn by how unsure it is that they fire; the others, which
            most likely fire, are drawn by how much the members of the ensemble disagree.
        seed: of candidates and draws.
    """

    rounds: NonNegativeInt
    cells: PositiveInt
    max_epochs: PositiveInt
    candidates: PositiveInt
    boundary: Annotated[float, Field(ge=0, le=1)]
    seed: NonNegativeInt

    def design_sizes(self, begin: int) -> list[int]:
        """Returns how many cells each training has, the first and the last included.

        Raises:
            UserError: the design has as many from the beginning, or there are too few candidates.
        """
        if begin >= self.cells:
            raise UserError(
                f"active.cells: got {self.cells}, but the design begins with {begin}; give more, or a smaller design"
            )
        if self.candidates < self.cells - begin:
            raise UserError(
                f"active.candidates: got {self.candidates}, of which {self.cells - begin} are to be chosen; give more"
            )
        return np.linspace(begin, self.cells, self.rounds + 1).round().astype(int).tolist()

    def select(self, emulator: Emulator, scales: Scales, count: int) -> Float64[np.ndarray, "count scaled"]:
        """Chooses cells for an emulator that was trained on others.

        Args:
            emulator: with several members, that tells which cells fire.
            scales: of the cells there are (cells, scaled).
            count: how many more.

        Returns:
            (count, scaled).

        Raises:
            UserError: an emulator that cannot tell.
        """
        names, known = emulator.specification.scaled, len(scales)
        ends = zip(scales.min(axis=0).tolist(), scales.max(axis=0).tolist(), strict=True)
        ranges = {name: end for name, end in zip(names, ends, strict=True) if end[0] < end[1]}
        candidates = design("sobol", n=self.candidates, seed=self.seed + known, scaled=names, ranges=ranges)
        constant = scales.min(axis=0) == scales.max(axis=0)
        candidates[:, constant] = scales[0, constant]
        fires, disagreement = emulator.fires_probability(candidates), emulator.epistemic_std(candidates)
        if fires is None or disagreement is None:
            raise UserError(CANNOT_CHOOSE)
        random = np.random.default_rng((self.seed, known))
        unsure = _draw(random, fires * (1 - fires), round(self.boundary * count))
        others = np.setdiff1d(np.arange(len(candidates)), unsure)
        wanted = np.where(fires >= 0.5, disagreement, 0.0)[others]
        return candidates[np.concatenate([unsure, others[_draw(random, wanted, count - len(unsure))]])]


def _draw(random: np.random.Generator, weights: np.ndarray, count: int) -> np.ndarray:
    """Draws without replacement, in proportion to weights; where too few are above 0, the others come evenly."""
    positive = weights > 0
    least = weights[positive].min(initial=1.0) * 1e-9
    filled = np.where(positive, weights, least)
    return random.choice(len(weights), count, replace=False, p=filled / filled.sum())


def grow_design(
    active: ActiveLearning, scales: Scales, scaled: Sequence[str], folder: Path, train: Callable[[Path, Path], Emulator]
) -> Path:
    """Grows a design round after round, or goes on with those of the same folder.

    Args:
        active: how.
        scales: of the cells it begins with (cells, scaled).
        scaled: names of the conductances.
        folder: of the run; each round has one of its own below it.
        train: trains on the design of a file in a run folder, or opens what was trained there.

    Returns:
        The file of the whole design.
    """
    for number, more in enumerate(np.diff(active.design_sizes(len(scales))).tolist(), 1):
        here = folder / "rounds" / str(number)
        emulator = train(_write_design(scales, scaled, here), here)
        scales = np.concatenate([scales, active.select(emulator, scales, more)])
    return _write_design(scales, scaled, folder)


def _write_design(scales: Scales, scaled: Sequence[str], folder: Path) -> Path:
    with atomic_write(folder / DESIGN) as file:
        pd.DataFrame(scales, columns=list(scaled)).to_parquet(file)
    return folder / DESIGN
