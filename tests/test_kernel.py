"""The order of the method, with fixed steps on problems with a closed form."""

import numpy as np
import pytest
from small_cells import call, kernel_with, small_cell

from cardioemu.simulation import simulate

STEPPER = """
void fixed_steps(double *path, double h, int64_t count, double *estimate) {
  vec P[SCALED + 1], Q[INPUTS + 1], Y[STATES], Z[STATES], E[STATES], OUT[2 * CHANNELS];
  for (int i = 0; i < STATES; i++) Y[i] = VEC(path[i]);
  for (int64_t n = 1; n <= count; n++) {
    attempt(P, Q, Y, VEC(h), Z, E, OUT);
    for (int i = 0; i < STATES; i++) path[n * STATES + i] = Z[i][0];
    if (n == 1) *estimate = fabs(E[0][0]);
    memcpy(Y, Z, sizeof Y);
  }
}
"""


def columns(*values):
    return np.stack(np.broadcast_arrays(*values), axis=1)


# If the rates use time, it is the last state.
PROBLEMS = {  # states at 0, rates, the states (times, states) at times (times,)
    "logistic": ({"V": 0.1}, {"V": "V * (1 - V)"}, lambda t: columns(1 / (1 + 9 * np.exp(-t)))),
    "oscillator": ({"V": 1, "x": 0}, {"V": "-x", "x": "V"}, lambda t: columns(np.cos(t), np.sin(t))),
    "predator and prey": (
        {"V": 2, "x": 1},
        {"V": "V * log(x)", "x": "-x * log(V)"},
        lambda t: columns(2 ** np.cos(t), 2 ** -np.sin(t)),
    ),
    "varying exponent": ({"V": 1, "x": 1}, {"V": "V^x", "x": "0"}, lambda t: columns(np.exp(t), 1)),
    "explicit time": ({"V": 1}, {"V": "cos(engine.time) * V"}, lambda t: columns(np.exp(np.sin(t)), t)),
}


def stiff(rate):
    """Prothero and Robinson's problem: V relaxes to cos t at the given rate."""
    law = f"-{rate} * (V - cos(engine.time)) - sin(engine.time)"
    return {"V": 1}, {"V": law}, lambda t: columns(np.cos(t), t)


def errors_of_fixed_steps(folder, problem, duration, counts):
    """The largest error along the solution, and the error estimate of the first step, for each number of steps."""
    initial, rates, exact = problem
    kernel = kernel_with(small_cell(folder, initial, rates), STEPPER)
    errors, estimates = [], []
    for count in counts:
        t, estimate = np.linspace(0, duration, count + 1), np.zeros(1)
        path = np.zeros_like(exact(t))
        path[0, : len(initial)] = list(initial.values())
        call(kernel.fixed_steps, path, duration / count, count, estimate)
        errors.append(np.abs(path - exact(t)).max())
        estimates.append(estimate[0])
    return errors, estimates


def order(counts, errors):
    return -np.polyfit(np.log(counts), np.log(errors), 1)[0]


@pytest.mark.parametrize("name", PROBLEMS)
def test_order_is_four(name, tmp_path):
    """Valid down to 1e-8, since the published coefficients sum to 1 + 1e-9. The estimate is of a method of order 3."""
    counts = (12, 16, 24, 32, 48, 64)
    errors, estimates = errors_of_fixed_steps(tmp_path, PROBLEMS[name], 4.0, counts)
    assert 3.7 < order(counts, errors) < 4.3, errors
    assert 3.7 < order(counts[1:], estimates[1:]) < 4.3, estimates
    assert errors[-1] < 1e-5


def test_order_on_stiff_problems(tmp_path):
    """For a large product of step and rate the order is about 2 and the error falls with the rate; below 1 it is 4.

    The stages of every Rosenbrock method are of first order, which reduces the order of the method on stiff problems
    (Hairer and Wanner, section IV.15).
    """
    counts = (4, 8, 16)
    hundred, _ = errors_of_fixed_steps(tmp_path, stiff(1e2), 4.0, counts)
    thousand, _ = errors_of_fixed_steps(tmp_path, stiff(1e3), 4.0, counts)
    assert 1.5 < order(counts, hundred) < 2.5, hundred
    assert 1.5 < order(counts, thousand) < 2.5, thousand
    np.testing.assert_allclose(np.divide(hundred, thousand), 10, rtol=0.35)
    counts = (48, 64, 96)
    ten, _ = errors_of_fixed_steps(tmp_path, stiff(10), 4.0, counts)
    assert 3.7 < order(counts, ten) < 4.3, ten


def test_a_step_is_accepted_if_and_only_if_its_estimate_is_within_the_tolerance(tmp_path):
    """The first step, 0.01 ms, of a cell that decays at rate g equals a step of 0.01 g of a cell with rate 1."""
    cell = small_cell(tmp_path, {"V": 1}, {"V": "-g * V"}, "g = 1", {"g": "m.g"})
    rates = np.geomspace(10, 1000, 400)
    traces = simulate(cell, rates[:, None], 0.02, rtol=1e-4, atol=1e-6)
    accepted = np.array([trace.step_time_ms[1] == 0.01 for trace in traces])
    decay = {"V": 1}, {"V": "-V"}, lambda t: columns(np.exp(-t))
    estimates = [errors_of_fixed_steps(tmp_path, decay, 0.01 * rate, [1])[1][0] for rate in rates]
    assert 20 < accepted.sum() < 380
    assert accepted.tolist() == [estimate <= 1e-6 + 1e-4 for estimate in estimates]
