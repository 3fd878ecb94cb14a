"""Which cells train, validate and test."""

import numpy as np

from cardioemu.common.arrays import Scales

TRAIN, VALIDATION, TEST = "train", "validation", "test"


def split(scales: Scales, validation: float, test: float, seed: int) -> np.ndarray:
    """Splits cells by their distinct scale vectors, so that identical cells never stand on two sides.

    The control (all scales 1) always trains. The other distinct vectors are shuffled by `seed`; the validation and test
    parts take their fractions of them, rounded to whole vectors.

    Args:
        scales: (cells, scaled).
        validation: fraction of the distinct vectors.
        test: fraction of the distinct vectors.
        seed: the same seed and set of vectors give the same split, whatever the order or number of the rows.

    Returns:
        (cells,) of "train", "validation" or "test".
    """
    distinct, inverse = np.unique(scales, axis=0, return_inverse=True)
    free = np.flatnonzero(~(distinct == 1.0).all(axis=1))
    shuffled = np.random.default_rng(seed).permutation(free)
    n_validation, n_test = round(validation * len(distinct)), round(test * len(distinct))
    part = np.full(len(distinct), TRAIN, dtype="<U10")
    part[shuffled[:n_validation]] = VALIDATION
    part[shuffled[n_validation : n_validation + n_test]] = TEST
    return part[inverse.ravel()]
