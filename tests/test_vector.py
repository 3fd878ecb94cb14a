"""The elementary functions of the population solver, for every width of vector, against mpmath and the C library."""

import re
import shlex
import shutil
import subprocess
from functools import cache
from importlib.resources import files
from pathlib import Path

import mpmath
import numpy as np
import pytest

from cardioemu.simulation.solvers.rodas.compiler import ARITHMETIC, NATIVE

pytestmark = pytest.mark.compiler

VECTOR = (files("cardioemu.simulation.solvers.rodas") / "vector.h").read_text(encoding="utf-8")
POWERS = [-64, -7, -2, -1, 0, 1, 2, 3, 5, 10, 64]
RARE = ["sin", "cos", "tan", "asin", "acos", "atan"]
CALLS = {name: f"v_{name}(x)" for name in ["exp", "expm1", "log", "log10", "sqrt", "fabs", "floor", "ceil", *RARE]}
CALLS |= {name: f"v_{name}(x, y)" for name in ["pow", "min", "max"]}
CALLS |= {f"power {n}": f"v_ipow(x, {n})" for n in POWERS}
# A program that reads pairs of numbers and writes a function of each pair; its first argument names the function.
PROGRAM = f"""
#include <stdio.h>
#include <string.h>
{"".join(f"static vec call_{i}(vec x, vec y) {{ return {call}; }}" for i, call in enumerate(CALLS.values()))}
static const struct {{ const char *name; vec (*function)(vec, vec); }} calls[] = {{
  {", ".join(f'{{"{name}", call_{i}}}' for i, name in enumerate(CALLS))}
}};
int main(int count, char **arguments) {{
  double pairs[LANES][2];
  for (size_t i = 0; count == 2 && i < sizeof calls / sizeof *calls; i++)
    if (!strcmp(calls[i].name, arguments[1]))
      for (size_t n; (n = fread(pairs, sizeof *pairs, LANES, stdin));) {{
        vec x = {{0}}, y = {{0}};
        for (int l = 0; l < LANES; l++) x[l] = pairs[l][0], y[l] = pairs[l][1];
        const vec z = calls[i].function(x, y);
        fwrite(&z, sizeof(double), n, stdout);
      }}
}}
"""
BUILDS = [
    *(f"{c} {o}" for c in ("gcc", "clang") for o in (NATIVE, "-march=x86-64-v3", "-march=x86-64-v2", "-DLANES=1")),
    "aarch64-linux-gnu-gcc -static",
]
NEEDS = {"-march=x86-64-v3": {"avx2", "fma", "bmi2"}, "-march=x86-64-v2": {"sse4_2"}}  # names in /proc/cpuinfo


@pytest.fixture(scope="module", params=BUILDS)
def build(request, tmp_path_factory):
    """The command of a compiler, and the command that runs its programs."""
    compiler, option = shlex.split(request.param)
    runner = ["qemu-aarch64"] if compiler.startswith("aarch64") else []
    cpuinfo = Path("/proc/cpuinfo")
    cpu_flags = set(cpuinfo.read_text(encoding="utf-8").split()) if cpuinfo.exists() else set()
    if not all(map(shutil.which, [compiler, *runner])) or not NEEDS.get(option, set()) <= cpu_flags:
        pytest.skip(f"{request.param} is not available")
    source = tmp_path_factory.mktemp("vector") / "vector.c"
    source.write_text(VECTOR + PROGRAM, encoding="utf-8")
    return [compiler, "-O2", option, *ARITHMETIC, str(source)], runner


@pytest.fixture(scope="module")
def apply(build, tmp_path_factory):
    """A function that evaluates a compiled function on one or two arrays."""
    program = str(tmp_path_factory.mktemp("vector") / "vector")
    subprocess.run([*build[0], "-o", program, "-lm"], check=True)

    def apply(name, x, y=0.0):
        pairs = np.stack(np.broadcast_arrays(np.asarray(x, dtype=float), y), axis=-1)
        result = subprocess.run([*build[1], program, name], input=pairs.tobytes(), capture_output=True, check=True)
        return np.frombuffer(result.stdout)

    return apply


def draw(low, high, count=1500):
    return np.random.default_rng(0).uniform(low, high, count)


def log_inputs():
    near_one = [1 + draw(-1e-6, 1e-6), 1 + draw(-1, 1) * 2.0 ** -draw(1, 52), draw(0.5, 2)]
    edge_of_reduction = np.sqrt(0.5) * (1 + np.arange(-50, 50) * 2.0**-52)
    every_exponent = [2.0 ** np.arange(-1074, 1024), np.exp2(draw(-1074, -1022)), np.exp(draw(-708, 709))]
    x = np.concatenate([*near_one, edge_of_reduction, *every_exponent])
    return (x[x != 1],)


def pow_inputs():
    """Bases of any size and near 1; exponents that are small, or make y log x fill the range of normal results."""
    base = np.concatenate([np.exp(draw(-700, 700)), 1 + draw(-1, 1) * 2.0 ** -draw(1, 52), draw(0.7, 1.42)])
    base = base[base != 1]
    full = np.random.default_rng(1).uniform(-708.39, 709.78, len(base)) / np.log(base)
    small = np.random.default_rng(2).uniform(-6, 6, len(base))
    hill = np.exp(np.random.default_rng(3).uniform(-10, 10, len(base)))
    subnormal = np.exp2(draw(-1074, -1022))
    x, y = np.concatenate([base, hill, subnormal]), np.concatenate([full, small, small[: len(subnormal)] / 7])
    return x, y


CASES = {  # the exact function, its arguments, and the largest error allowed, in units of the last place
    "exp": (mpmath.exp, lambda: (np.concatenate([draw(-708, 709), draw(-1, 1), draw(-1e-8, 1e-8)]),), 1.25),
    "expm1": (mpmath.expm1, lambda: (np.concatenate([draw(-40, 40), draw(-1, 1), draw(0.34, 0.38)]),), 1.45),
    "log": (mpmath.log, log_inputs, 1.3),
    "log10": (mpmath.log10, log_inputs, 0.55),
    "pow": (mpmath.power, pow_inputs, 1.2),
    "sqrt": (mpmath.sqrt, lambda: (np.exp(draw(-700, 700)),), 0.5),
} | {
    f"power {n}": (lambda x, n=n: x**n, lambda: (draw(-1, 1, 300) * np.exp(draw(-4, 4, 300)),), max(abs(n), 1))
    for n in POWERS
}


@cache
def expected(name):
    """The arguments, the rounded exact values, and their rounding errors in units of the last place."""
    exact, inputs, _ = CASES[name]
    arguments = inputs()
    with mpmath.workprec(120):
        values = [exact(*map(mpmath.mpf, row)) for row in zip(*arguments, strict=True)]
        rounded = np.array([float(v) for v in values])
        rest = [(v - r) / np.spacing(abs(r)) for v, r in zip(values, rounded, strict=True)]
    return arguments, rounded, np.array(rest, dtype=float)


def test_errors_are_below_their_bounds(apply):
    for name, (_, _, bound) in CASES.items():
        arguments, rounded, rest = expected(name)
        errors = abs((apply(name, *arguments) - rounded) / np.spacing(abs(rounded)) - rest)
        worst = np.argmax(errors)
        assert errors[worst] <= bound, (name, errors[worst], [a[worst] for a in arguments])


def assert_same(name, values, expected, rtol=0.0):
    np.testing.assert_allclose(values, expected, rtol=rtol, atol=0, err_msg=name)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(values[numbers]), np.signbit(expected[numbers]), err_msg=name)


def test_special_values_of_exp_and_log(apply):
    """exp stays finite and normal beyond its range."""
    ends = np.exp([-708.0, 709.0])
    assert_same("exp", apply("exp", [-708.1, -1e300, -np.inf]), np.full(3, ends[0]), 1e-15)
    assert_same("exp", apply("exp", [709.1, 1e300, np.inf]), np.full(3, ends[1]), 1e-15)
    assert_same("exp", apply("exp", [0.0, -0.0, 5e-324, -1e-320, np.nan]), np.array([1, 1, 1, 1, np.nan]))
    small = apply("expm1", [-1e300, -np.inf, 0.0, 5e-324, np.nan])
    assert_same("expm1", small, np.array([-1, -1, 0, 5e-324, np.nan]))
    values = np.array([1.0, 0.0, -0.0, np.inf, -1.0, -5e-324, -np.inf, np.nan])
    for name in ("log", "log10"):
        assert_same(name, apply(name, values), np.array([0, -np.inf, -np.inf, np.inf, *[np.nan] * 4]))
    assert_same("log10", apply("log10", 10.0 ** np.arange(1, 23)), np.arange(1.0, 23.0))


def test_special_values_of_powers(apply):
    sizes = [0.0, 5e-324, 0.3, 0.5, 1.0, 2.0, 2.5, 3.0, 1022.5, 1024.0, 2.0**53 - 1, 2.0**53, 1e300, 1.7e308, np.inf]
    values = np.array([*sizes, *np.negative(sizes), np.nan])
    x, y = (a.ravel() for a in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        power = np.power(x, y)
    size, largest, smallest = abs(power), np.finfo(float).max, np.finfo(float).tiny
    ordinary = np.isfinite(x) & np.isfinite(y) & (x != 0)  # these stay finite and normal
    power[ordinary & (size > largest)] = np.copysign(largest, power)[ordinary & (size > largest)]
    power[ordinary & (size < smallest)] = np.copysign(smallest, power)[ordinary & (size < smallest)]
    assert_same("pow", apply("pow", x, y), power, 5e-16)
    x = np.array([0.0, -2.0, np.inf, np.nan])
    for n in POWERS:
        with np.errstate(divide="ignore"):
            assert_same(f"power {n}", apply(f"power {n}", x), np.power(x, float(n)))


def test_exact_functions(apply):
    few = np.array(
        [0.0, 5e-324, 1e-300, 0.3, 0.5, 1.0, 1.5, 2.5, 3.0, 2.0**51 + 0.5, 2.0**52 - 0.5, 2.0**53 - 1, np.inf]
    )
    near = np.nextafter(np.arange(6.0)[:, None], [-np.inf, np.inf]).ravel()
    x = np.concatenate([few, near, draw(0, 100, 200), np.exp2(draw(-1074, 1024, 200))])
    x = np.concatenate([x, -x, [np.nan]])
    for name in ("sqrt", "fabs", "floor", "ceil"):
        with np.errstate(invalid="ignore"):
            assert_same(name, apply(name, x), getattr(np, name)(x))
    x, y = (a.ravel() for a in np.meshgrid([1.0, -2.0, np.inf, -np.inf, np.nan], [1.5, -1.0, np.inf, np.nan]))
    assert_same("min", apply("min", x, y), np.where(x < y, x, y))
    assert_same("max", apply("max", x, y), np.where(x > y, x, y))


def test_functions_of_the_c_library(apply):
    x = np.concatenate([draw(-1, 1, 100), [-0.0, np.nan]])
    for name in RARE:
        assert_same(name, apply(name, x), getattr(np, {"a": "arc"}.get(name[0], name[0]) + name[1:])(x), 5e-16)


def test_lanes_are_independent(apply):
    special = [np.nan, np.inf, 0.0, -1.0, 1e-320]
    x = np.random.default_rng(0).permutation([*np.exp(draw(-300, 300, 500)), *special])
    y = draw(-9, 9, len(x))
    for name in ("exp", "expm1", "log", "log10", "pow", "sqrt", "floor"):
        for order in (np.arange(len(x))[::-1], np.random.default_rng(1).permutation(len(x))):
            assert apply(name, x[order], y[order]).tobytes() == apply(name, x, y)[order].tobytes(), name


def test_vectors_are_not_split_into_scalars(build):
    """The assembly has no arithmetic on single numbers."""
    command, _ = build
    if "-march" not in command[2]:
        pytest.skip("one lane, or not x86")
    assembly = subprocess.run([*command, "-S", "-o", "-"], capture_output=True, text=True, check=True).stdout
    assert re.findall(r"\bv?(?:add|sub|mul|div|sqrt|min|max|u?comi|cmp\w*|fn?m\w+|rndscale|round)sd\b", assembly) == []
