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
void fixed_steps(double *y, double h, int64_t count, double *estimate) {
  vec P[SCALED + 1], Y[STATES], Z[STATES], weight[STATES], error, slope;
  for (int i = 0; i < STATES; i++) Y[i] = VEC(y[i]), weight[i] = VEC(1.0);
  for (int64_t n = 0; n < count; n++) {
    attempt(P, Y, weight, VEC(h), Z, &error, &slope);
    if (n == 0) *estimate = error[0];
    memcpy(Y, Z, sizeof Y);
  }
  for (int i = 0; i < STATES; i++) y[i] = Y[i][0];
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


# One step of the method, on problems with a closed form.

PROBLEMS = {
    "logistic": ({"V": 0.1}, {"V": "V * (1 - V)"}, lambda t: [1 / (1 + 9 * np.exp(-t))]),
    "oscillator": ({"V": 1, "x": 0}, {"V": "-x", "x": "V"}, lambda t: [np.cos(t), np.sin(t)]),
    "stiff": (
        {"V": 1, "x": 1},
        {"V": "-1000 * (V - x^2) - 2 * x^2", "x": "-x"},
        lambda t: [np.exp(-2 * t), np.exp(-t)],
    ),
    "varying exponent": ({"V": 0, "x": 0}, {"V": "9^x", "x": "1"}, lambda t: [np.expm1(t * np.log(9)) / np.log(9), t]),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_error_of_fixed_steps_falls_with_the_fourth_power(problem, tmp_path):
    """Down to 1e-8: the published coefficients add up to 1 + 1e-9."""
    initial, rates, exact = PROBLEMS[problem]
    kernel = kernel_with(small_cell(tmp_path, initial, rates), STEPPER)
    errors, estimates = [], []
    for count in (4, 8, 16):
        y, estimate = np.array(list(initial.values()), dtype=float), np.zeros(1)
        call(kernel.fixed_steps, y, 2 / count, count, estimate)
        errors.append(np.abs(y - exact(2.0)).max())
        estimates.append(estimate[0])
    orders, estimated = np.log2(np.divide(errors[:-1], errors[1:])), np.log2(np.divide(estimates[:-1], estimates[1:]))
    assert errors[-1] < 1e-5
    assert (orders > 3.5).all(), (orders, errors)
    assert (estimated > 3.4).all() or problem == "stiff", (estimated, estimates)
