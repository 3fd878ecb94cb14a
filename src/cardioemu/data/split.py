"""The split of cells into training, validation and test."""

import numpy as np

from cardioemu.common.arrays import Scales

TRAIN, VALIDATION, TEST = "train", "validation", "test"


def split(scales: Scales, validation: float, test: float, seed: int) -> np.ndarray:
    """Split cells by their distinct scale vectors, so that identical cells are never in two splits.

    The control (all scales 1) is always in "train". The other distinct vectors are shuffled by `seed`; validation and
    test each take their fraction of all distinct vectors, rounded to whole vectors.

    Args:
        scales: scale vectors (cells, scaled).
        validation: fraction of the distinct vectors.
        test: fraction of the distinct vectors.
        seed: seed of the shuffling. The split depends on the seed and the set of distinct vectors only, not on the
            order or number of the rows.

    Returns:
        "train", "validation" or "test" for each cell (cells,).
    """
    distinct, inverse = np.unique(scales, axis=0, return_inverse=True)
    free = np.flatnonzero(~(distinct == 1.0).all(axis=1))
    shuffled = np.random.default_rng(seed).permutation(free)
    n_validation, n_test = round(validation * len(distinct)), round(test * len(distinct))
    names = np.full(len(distinct), TRAIN, dtype="<U10")
    names[shuffled[:n_validation]] = VALIDATION
    names[shuffled[n_validation : n_validation + n_test]] = TEST
    return names[inverse.ravel()]
