"""Absurd scales, states and tolerances: a sentence or a status, never garbage."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cardioemu.common.errors import UserError
from cardioemu.simulation import load_cell, simulate

CELL = load_cell("akwaboah2021")
DURATION_MS = 20.0
TIMES_MS = np.linspace(0, DURATION_MS, 201)

ALLOWED = st.sampled_from([0.0, 5e-324, 1e-12, 0.5, 1.0, 2.0, 1e3, 1e6]) | st.floats(0, 1e3)
ANYTHING = ALLOWED | st.sampled_from([-1.0, -1e-300, np.nan, np.inf, -np.inf, 1e300])


def tables(values, width):
    return st.lists(st.lists(values, min_size=width, max_size=width), min_size=1, max_size=4)


def checked(scales):
    """Simulates, and holds every cell that is said to be well against a run of a tenth of the tolerance.

    They may differ by 1 mV for every time the cell fires: errors in time add up. With INa a million times its own some
    cells fire 25 times in 20 ms.
    """
    traces, finer = (simulate(CELL, scales, DURATION_MS, rtol=rtol) for rtol in (1e-6, 1e-7))
    for scale, trace, other in zip(scales, traces, finer, strict=True):
        assert np.isfinite(trace.step_voltage_mV).all()
        assert trace.status == "ok" or " (stopped at " in trace.status
        assert trace.status == other.status == "ok" or max(scale) > 1e3
        until = TIMES_MS[: np.searchsorted(TIMES_MS, min(trace.end_ms, other.end_ms) - 0.1)]
        found, expected = trace.voltage_mV(until), other.voltage_mV(until)
        fires = max(1, np.count_nonzero(np.diff(np.sign(np.diff(expected))) < 0))
        assert np.linalg.norm(found - expected) <= fires * np.sqrt(len(until))


@settings(max_examples=60)
@given(tables(ALLOWED, 5))
@example([[0.0, 800.0, 159.0, 762.0, 1e6]])
def test_any_scales_that_are_allowed(scales):
    checked(scales)


@settings(max_examples=100)
@given(st.integers(0, 7).flatmap(lambda width: tables(ANYTHING, width)))
def test_scales_of_any_kind_and_width(scales):
    table = np.array(scales, dtype=float)
    if table.shape[1] == 5 and ((table >= 0) & (table <= 1e6)).all():
        assert len(simulate(CELL, scales, 1.0)) == len(table)
    else:
        with pytest.raises(UserError, match="scales: "):
            simulate(CELL, scales, 1.0)


@pytest.mark.parametrize(
    "scales",
    [
        "control",
        [],
        [[]],
        [[1, 1, 1, 1, "a"]],
        [[1, 1, 1, 1, None]],
        [[1, 1, 1, 1, 1j]],
        [[1] * 5, [1] * 4],
        np.ones((2, 2, 5)),
        np.ones((5, 2)),
        pd.DataFrame({"ICaL": [1.0], "IKr": [1.0]}),
    ],
    ids=repr,
)
def test_scales_that_are_no_table(scales):
    with pytest.raises(UserError, match="scales: "):
        simulate(CELL, scales, 1.0)


@settings(max_examples=60)
@given(st.sampled_from(CELL.states), st.sampled_from([0.0, -1.0, 1e-12, 1e3, 1e6, 1e30, -1e30, 1e300]))
def test_absurd_initial_states(name, value):
    state = CELL.initial_state.copy()
    state[CELL.states.index(name)] = value
    for trace in simulate(CELL, np.ones((2, 5)), DURATION_MS, initial_state=state):
        assert np.isfinite(trace.step_voltage_mV).all()
        assert trace.status == "ok" or " (stopped at " in trace.status


@settings(max_examples=100)
@given(
    st.sampled_from([1e-9, 1e-4, 0.1]) | st.floats(),
    st.sampled_from([1e-9, 1e-4, 1.0]) | st.floats(),
    st.sampled_from([1e-9, 1.0, DURATION_MS]) | st.floats(),
)
def test_any_tolerances_and_durations(rtol, atol, duration_ms):
    allowed = {"rtol": 1e-13 <= rtol <= 0.1, "atol": 0 < atol < np.inf, "duration_ms": 0 < duration_ms < np.inf}
    if not all(allowed.values()):
        with pytest.raises(UserError) as refused:
            simulate(CELL, np.ones(5), duration_ms, rtol=rtol, atol=atol)
        assert not allowed[str(refused.value).partition(":")[0]]
    elif duration_ms <= 100 and rtol >= 1e-9 and atol >= 1e-9:  # the others are a long way
        (trace,) = simulate(CELL, np.ones(5), duration_ms, rtol=rtol, atol=atol)
        assert np.isfinite(trace.step_voltage_mV).all()
        assert trace.end_ms == duration_ms or max(rtol, atol) > 1e-4
