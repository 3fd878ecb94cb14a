"""The inner functions of the generated C: elementary functions against mpmath, the order of the method."""

import mpmath
import numpy as np
import pytest
from small_cells import call, kernel_with, small_cell

FUNCTIONS = ["v_exp", "v_log", "v_sqrt", "v_log10"]
POWERS = [-64, -7, -2, -1, 0, 1, 2, 3, 5, 10, 64]
DOOR = """
#define APPLY(name, expression) \\
  void name##_array(const double *in, double *out, int64_t count) { \\
    for (int64_t i = 0; i < count; i += LANES) { \\
      vec x; \\
      for (int l = 0; l < LANES; l++) x[l] = in[i + l < count ? i + l : count - 1]; \\
      const vec y = expression; \\
      for (int l = 0; l < LANES && i + l < count; l++) out[i + l] = y[l]; \\
    } \\
  }
"""
DOOR += "".join(f"APPLY({name}, {name}(x))\n" for name in FUNCTIONS)
DOOR += "".join(f"APPLY(power_{i}, v_ipow(x, {n}))\n" for i, n in enumerate(POWERS))
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


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    return kernel_with(small_cell(tmp_path_factory.mktemp("kernel"), {"V": 0}, {"V": "-V"}), DOOR)


@pytest.fixture(scope="module")
def apply(kernel):
    def apply(name, x):
        x = np.ascontiguousarray(x, dtype=float)
        out = np.empty_like(x)
        call(getattr(kernel, f"{name}_array"), x, out, len(x))
        return out

    return apply


def ulps(values, x, exact):
    """Largest distance from the exact value, in units of the last place of the exact value."""
    with mpmath.workprec(120):
        errors = [
            abs((mpmath.mpf(v) - (e := exact(mpmath.mpf(a)))) / np.spacing(abs(float(e))))
            for v, a in zip(values, x, strict=True)
        ]
    return float(max(errors))


def spread(low, high, count=4000):
    return np.random.default_rng(0).uniform(low, high, count)


@pytest.mark.parametrize(("low", "high"), [(-708, 709), (-1, 1), (-1e-8, 1e-8), (-40, 40)])
def test_exp(apply, low, high):
    x = np.append(spread(low, high), [low, high, 0.0, -0.0])
    assert ulps(apply("v_exp", x), x, mpmath.exp) < 1


def test_exp_stays_finite_and_normal_beyond_its_range(apply):
    ends = np.exp([-708.0, 709.0])
    np.testing.assert_allclose(apply("v_exp", [-708.1, -1e300, -np.inf]), ends[0], rtol=1e-15)
    np.testing.assert_allclose(apply("v_exp", [709.1, 1e300, np.inf]), ends[1], rtol=1e-15)
    assert apply("v_exp", [5e-324, -1e-320]).tolist() == [1, 1]
    assert np.isnan(apply("v_exp", [np.nan, 0.0])).tolist() == [True, False]


@pytest.mark.parametrize(
    "x",
    [
        np.exp(spread(-708, 709)),
        spread(0.5, 2),
        1 + spread(-1e-6, 1e-6),
        1 + spread(-1, 1) * 2.0 ** -spread(1, 52),
        2.0 ** np.arange(-1074, 1024),
        np.exp2(spread(-1074, -1022)),
        np.sqrt(0.5) * (1 + np.arange(-50, 50) * 2.0**-52),
    ],
    ids=["all", "near 1", "nearer 1", "nearest 1", "powers of 2", "subnormal", "edge of the reduction"],
)
def test_log(apply, x):
    x = x[x != 1]
    assert ulps(apply("v_log", x), x, mpmath.log) < 2


def test_log_of_special_numbers(apply):
    values = apply("v_log", [1.0, 0.0, -0.0, np.inf, -1.0, -5e-324, -np.inf, np.nan])
    np.testing.assert_array_equal(values, [0, -np.inf, -np.inf, np.inf] + 4 * [np.nan])


@pytest.mark.parametrize(("name", "exact"), [("v_sqrt", mpmath.sqrt), ("v_log10", mpmath.log10)])
def test_functions_of_the_c_library(apply, name, exact):
    x = np.exp(spread(-700, 700, 500))
    assert ulps(apply(name, x), x, exact) < 2


@pytest.mark.parametrize(("i", "n"), list(enumerate(POWERS)))
def test_whole_powers(apply, i, n):
    x = spread(-1, 1, 500) * np.exp(spread(-4, 4, 500))
    assert ulps(apply(f"power_{i}", x), x, lambda a: a**n) <= max(abs(n), 1)
    special = apply(f"power_{i}", [0.0, -2.0, np.inf, np.nan])
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(special[:3], np.power([0.0, -2.0, np.inf], float(n)))
    assert n == 0 or np.isnan(special[3])


# The method with fixed steps, on problems with a closed form; time, where the rates use it, is the last state.


def columns(*values):
    return np.stack(np.broadcast_arrays(*values), axis=1)


PROBLEMS = {  # states at 0, rates, the states (times, states) at times (times,)
    "logistic": ({"V": 0.1}, {"V": "V * (1 - V)"}, lambda t: columns(1 / (1 + 9 * np.exp(-t)))),
    "oscillator": ({"V": 1, "x": 0}, {"V": "-x", "x": "V"}, lambda t: columns(np.cos(t), np.sin(t))),
    "predator and prey": (
        {"V": 2, "x": 1},
        {"V": "V * log(x)", "x": "-x * log(V)"},
        lambda t: columns(2 ** np.cos(t), 2 ** -np.sin(t)),
    ),
    "varying exponent": ({"V": 1, "x": 1}, {"V": "V^x", "x": "0"}, lambda t: columns(np.exp(t), 1)),
    "course of time": ({"V": 1}, {"V": "cos(engine.time) * V"}, lambda t: columns(np.exp(np.sin(t)), t)),
}


def stiff(rate):
    """Prothero and Robinson's problem: V is drawn to cos t, at a rate of its own."""
    law = f"-{rate} * (V - cos(engine.time)) - sin(engine.time)"
    return {"V": 1}, {"V": law}, lambda t: columns(np.cos(t), t)


def errors_of_fixed_steps(folder, problem, duration, counts):
    """The largest error on the way, and the estimate of the first step's error, for each number of steps."""
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
    """Down to 1e-8: the published coefficients add up to 1 + 1e-9. The estimate is that of a method of order 3."""
    counts = (12, 16, 24, 32, 48, 64)
    errors, estimates = errors_of_fixed_steps(tmp_path, PROBLEMS[name], 4.0, counts)
    assert 3.7 < order(counts, errors) < 4.3, errors
    assert 3.7 < order(counts[1:], estimates[1:]) < 4.3, estimates
    assert errors[-1] < 1e-5


def test_order_on_stiff_problems(tmp_path):
    """Where step times rate is large, the order shrinks to about 2 and the error with the rate; below 1 it is 4 again.

    The stages of every Rosenbrock method are of first order only, which shows where the problem forgets its own past
    between two stages (Hairer and Wanner, section IV.15).
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
