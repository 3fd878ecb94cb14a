"""Tables of scale vectors: their validation, and which of their rows are equal."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardioemu.common.errors import UserError
from cardioemu.simulation import first_occurrence, unique_rows, validate_scales

CURRENTS = ("ICaL", "IK1", "IKr", "IKur", "INa")


@pytest.mark.parametrize(
    "given",
    [
        [1, 2, 0, 0.5, 1],
        [[1, 2, 0, 0.5, 1]],
        np.array([[1, 2, 0, 0.5, 1]], dtype=np.float32),
        pd.DataFrame([[1, 2, 0, 0.5, 1]], columns=CURRENTS),
        pd.DataFrame([[1, 0.5, 0, 2, 1]], columns=CURRENTS[::-1]),
        pd.DataFrame([[1, 0.5, 0, 2, 1]], columns=CURRENTS[::-1]).iloc[0],
        pd.Series([1, 2, 0, 0.5, 1]),
        np.ma.array([1, 2, 0, 0.5, 1]),
    ],
)
def test_scales_in_any_form(given):
    scales = validate_scales(given, CURRENTS)
    assert scales.dtype == np.float64
    assert scales.tolist() == [[1, 2, 0, 0.5, 1]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1, 1, 1, 1], r"got shape \(4,\); allowed is \(cells, 5\), one column each for ICaL, IK1, IKr, IKur, INa"),
        (np.ones((2, 6)), r"got shape \(2, 6\)"),
        (np.ones((2, 2, 5)), r"got shape \(2, 2, 5\)"),
        (np.array(1.0), r"got shape \(\)"),
        (np.float64(1.0), r"got shape \(\)"),
        ([[1] * 5, [1, 1, 1, -0.5, 1]], r"cell 1 has IKur = -0.5; allowed is 0 to 1e\+06, where 1 is the control"),
        ([1, np.nan, 1, 1, 1], "cell 0 has IK1 = nan"),
        ([1, 1, 1, 1, np.inf], "cell 0 has INa = inf"),
        ([1, 1, 1, 1.1e6, 1], "cell 0 has IKur = 1100000.0"),
        (pd.DataFrame([[1, 1, 1, 1]], columns=CURRENTS[:4]), "the table has no column INa"),
        (pd.Series(dict.fromkeys(CURRENTS[:4], 1.0)), "the row has no INa; it needs ICaL"),
        (["a", "b", "c", "d", "e"], "allowed is a table of numbers"),
        ([[1, 1, 1, 1, 1], [1, 1]], "allowed is a table of numbers"),
        *((given, "") for given in ("control", [], [[]], [[1, 1, 1, 1, None]], [[1, 1, 1, 1, 1j]], np.ones((5, 2)))),
    ],
)
def test_refused_scales(given, message):
    with pytest.raises(UserError, match=f"^scales: .*{message}"):
        validate_scales(given, CURRENTS)


def test_distinct_rows_by_hand():
    rows = np.array([[1.0, 1], [0, 2], [1, 1], [0, 1], [0, 2]])
    number, first = unique_rows(rows)
    assert number.tolist() == [0, 1, 0, 2, 1]
    assert first.tolist() == [0, 1, 3]


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, 2.0]), st.sampled_from([0.5, 1.0])), min_size=1, max_size=20))
def test_distinct_rows(rows):
    number, first = unique_rows(np.array(rows))
    seen = list(dict.fromkeys(rows))
    assert number.tolist() == [seen.index(row) for row in rows]
    assert first.tolist() == [rows.index(row) for row in seen]
    assert first_occurrence(np.array(rows)).tolist() == [rows.index(row) == i for i, row in enumerate(rows)]
