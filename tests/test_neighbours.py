"""The trace of a cell does not depend, to the last bit, on its neighbours, its position and the number of threads."""

import numpy as np
import pytest
from small_cells import small_cell

from cardioemu.simulation import design, load_cell, simulate
from cardioemu.simulation.pacing import Pacing

COUNT = 19  # two vectors of 8 lanes and a remainder


def curves(trace):
    return [trace, *trace.recorded.values()]


def identical(a, b):
    return (
        a.status == b.status
        and list(a.recorded) == list(b.recorded)
        and np.array_equal(a.final_state, b.final_state)
        and all(
            np.array_equal(x.step_time_ms, y.step_time_ms)
            and np.array_equal(x.step_value, y.step_value, equal_nan=True)
            and np.array_equal(x.step_slope, y.step_slope, equal_nan=True)
            for x, y in zip(curves(a), curves(b), strict=True)
        )
    )


def spontaneous(folder):
    return load_cell("akwaboah2021"), design("sobol", n=COUNT), 400.0, {"record": ["ikr.I_Kr", "Ca_i"]}


# An excitable cell (FitzHugh and Nagumo) with a gate, a current and explicit time. Five of the cells fail: two blow up,
# two reach a division by zero, one is too fast for the step limit.
RATES = {
    "V": "(V - V^3 / 3 - w + pace) * on + blow * V^5 + hole",
    "w": "0.08 * (V + 0.7 - 0.8 * w) - fast * u",
    "u": "fast * w - (u + current) / 100",
}
MORE = """use engine.time as t
pace = 0 bind pace
on = 1
blow = 1
fast = 1
gap = 1
hole = if(gap > 0 and V > 1, 1 / (gap - gap) - log(-V^2), 0)
current = V^3 / 3 * exp(-w) + sin(t)"""
SCALED = ("on", "blow", "fast", "gap")  # all except the first make a cell fail
FAULTS = {2: ("blow", 1.0), 5: ("gap", 1.0), 8: ("fast", 1e6), 11: ("blow", 3.0), 14: ("gap", 2.0)}


def paced(folder):
    cell = small_cell(folder, {"V": -1.2, "w": -0.6, "u": 0}, RATES, MORE, {n: f"m.{n}" for n in SCALED})
    scales = np.zeros((COUNT, len(SCALED)))
    scales[:, 0] = np.linspace(0.5, 1.5, COUNT)
    for number, (name, value) in FAULTS.items():
        scales[number, SCALED.index(name)] = value
    return cell, scales, 40.0, {"record": ["m.current", "w", "m.pace"], "protocol": Pacing(13.7, 0.9, 3.3, 1.5)}


REASONS = {"blow": "step too small", "gap": "not finite", "fast": "too many steps"}
FAILED = {spontaneous: {}, paced: {number: REASONS[name] for number, (name, _) in FAULTS.items()}}


@pytest.fixture(scope="module", params=FAILED, ids=lambda make: make.__name__)
def population(request, tmp_path_factory):
    """A function that simulates some of the cells, and the trace of each cell simulated alone on one thread."""
    cell, scales, duration, settings = request.param(tmp_path_factory.mktemp("cells"))
    alone = [simulate(cell, scale, duration, threads=1, **settings)[0] for scale in scales]
    return (lambda cells, threads: simulate(cell, scales[cells], duration, threads=threads, **settings)), alone


def changed_cells(population, cells, threads):
    """The cells whose traces differ when simulated together."""
    run, alone = population
    return [i for i, trace in zip(cells, run(cells, threads), strict=True) if not identical(trace, alone[i])]


def test_the_cells_differ_and_some_fail(population, request):
    _, alone = population
    ok = [trace for trace in alone if trace.status == "ok"]
    assert len({trace.final_state.tobytes() for trace in ok}) == len(ok)
    failed = {i: trace.status.split(":")[0] for i, trace in enumerate(alone) if trace.status != "ok"}
    assert failed == FAILED[request.node.callspec.params["population"]]


@pytest.mark.parametrize("threads", [1, 2, 3, None])
def test_neighbours_do_not_change_a_cell(population, threads):
    changed = {count: changed_cells(population, np.arange(count), threads) for count in (*range(1, 10), COUNT)}
    assert not any(changed.values()), changed


def test_order_and_copies_do_not_change_a_cell(population):
    orders = [np.random.default_rng(seed).permutation(COUNT) for seed in range(3)]
    changed = [changed_cells(population, cells, 2) for cells in (*orders, np.repeat([2, 0, 5, 8, 1], 7))]
    assert not any(changed), changed
