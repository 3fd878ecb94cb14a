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
DOORS = {name: f"v_{name}(x)" for name in ["exp", "expm1", "log", "log10", "sqrt", "fabs", "floor", "ceil", *RARE]}
DOORS |= {name: f"v_{name}(x, y)" for name in ["pow", "min", "max"]}
DOORS |= {f"power {n}": f"v_ipow(x, {n})" for n in POWERS}
# A program that reads pairs of numbers and writes the function, named by its first argument, of each.
PROGRAM = f"""
#include <stdio.h>
#include <string.h>
{"".join(f"static vec door_{i}(vec x, vec y) {{ return {call}; }}" for i, call in enumerate(DOORS.values()))}
static const struct {{ const char *name; vec (*door)(vec, vec); }} doors[] = {{
  {", ".join(f'{{"{name}", door_{i}}}' for i, name in enumerate(DOORS))}
}};
int main(int count, char **arguments) {{
  double pairs[LANES][2];
  for (size_t i = 0; count == 2 && i < sizeof doors / sizeof *doors; i++)
    if (!strcmp(doors[i].name, arguments[1]))
      for (size_t n; (n = fread(pairs, sizeof *pairs, LANES, stdin));) {{
        vec x = {{0}}, y = {{0}};
        for (int l = 0; l < LANES; l++) x[l] = pairs[l][0], y[l] = pairs[l][1];
        const vec z = doors[i].door(x, y);
        fwrite(&z, sizeof(double), n, stdout);
      }}
}}
"""
BUILDS = [
    *(f"{c} {o}" for c in ("gcc", "clang") for o in (NATIVE, "-march=x86-64-v3", "-march=x86-64-v2", "-DLANES=1")),
    "aarch64-linux-gnu-gcc -static",
]
NEEDS = {"-march=x86-64-v3": {"avx2", "fma", "bmi2"}, "-march=x86-64-v2": {"sse4_2"}}  # what /proc/cpuinfo calls them


@pytest.fixture(scope="module", params=BUILDS)
def build(request, tmp_path_factory):
    """A compiler's command, and what runs its programs."""
    compiler, option = shlex.split(request.param)
    runner = ["qemu-aarch64"] if compiler.startswith("aarch64") else []
    cpuinfo = Path("/proc/cpuinfo")
    known = set(cpuinfo.read_text(encoding="utf-8").split()) if cpuinfo.exists() else set()
    if not all(map(shutil.which, [compiler, *runner])) or not NEEDS.get(option, set()) <= known:
        pytest.skip(f"no {request.param} here")
    source = tmp_path_factory.mktemp("vector") / "vector.c"
    source.write_text(VECTOR + PROGRAM, encoding="utf-8")
    return [compiler, "-O2", option, *ARITHMETIC, str(source)], runner


@pytest.fixture(scope="module")
def apply(build, tmp_path_factory):
    """Runs a function, compiled in one of the ways, on one or two arrays."""
    program = str(tmp_path_factory.mktemp("vector") / "vector")
    subprocess.run([*build[0], "-o", program, "-lm"], check=True)

    def apply(name, x, y=0.0):
        pairs = np.stack(np.broadcast_arrays(np.asarray(x, dtype=float), y), axis=-1)
        result = subprocess.run([*build[1], program, name], input=pairs.tobytes(), capture_output=True, check=True)
        return np.frombuffer(result.stdout)

    return apply


def spread(low, high, count=1500):
    return np.random.default_rng(0).uniform(low, high, count)


def log_inputs():
    near_one = [1 + spread(-1e-6, 1e-6), 1 + spread(-1, 1) * 2.0 ** -spread(1, 52), spread(0.5, 2)]
    edge_of_reduction = np.sqrt(0.5) * (1 + np.arange(-50, 50) * 2.0**-52)
    every_exponent = [2.0 ** np.arange(-1074, 1024), np.exp2(spread(-1074, -1022)), np.exp(spread(-708, 709))]
    x = np.concatenate([*near_one, edge_of_reduction, *every_exponent])
    return (x[x != 1],)


def pow_inputs():
    """Bases everywhere and near 1, exponents small and such that y log x fills the range of finite, normal results."""
    base = np.concatenate([np.exp(spread(-700, 700)), 1 + spread(-1, 1) * 2.0 ** -spread(1, 52), spread(0.7, 1.42)])
    base = base[base != 1]
    full = np.random.default_rng(1).uniform(-708.39, 709.78, len(base)) / np.log(base)
    small = np.random.default_rng(2).uniform(-6, 6, len(base))
    hill = np.exp(np.random.default_rng(3).uniform(-10, 10, len(base)))
    subnormal = np.exp2(spread(-1074, -1022))
    x, y = np.concatenate([base, hill, subnormal]), np.concatenate([full, small, small[: len(subnormal)] / 7])
    return x, y


CASES = {  # the exact function, its arguments, and the largest error allowed, in units of the last place
    "exp": (mpmath.exp, lambda: (np.concatenate([spread(-708, 709), spread(-1, 1), spread(-1e-8, 1e-8)]),), 1.25),
    "expm1": (mpmath.expm1, lambda: (np.concatenate([spread(-40, 40), spread(-1, 1), spread(0.34, 0.38)]),), 1.45),
    "log": (mpmath.log, log_inputs, 1.3),
    "log10": (mpmath.log10, log_inputs, 0.55),
    "pow": (mpmath.power, pow_inputs, 1.2),
    "sqrt": (mpmath.sqrt, lambda: (np.exp(spread(-700, 700)),), 0.5),
} | {
    f"power {n}": (lambda x, n=n: x**n, lambda: (spread(-1, 1, 300) * np.exp(spread(-4, 4, 300)),), max(abs(n), 1))
    for n in POWERS
}


@cache
def expected(name):
    """The arguments; the exact values, rounded; and what was cut off, in units of the last place."""
    exact, inputs, _ = CASES[name]
    arguments = inputs()
    with mpmath.workprec(120):
        values = [exact(*map(mpmath.mpf, row)) for row in zip(*arguments, strict=True)]
        rounded = np.array([float(v) for v in values])
        rest = [(v - r) / np.spacing(abs(r)) for v, r in zip(values, rounded, strict=True)]
    return arguments, rounded, np.array(rest, dtype=float)


@pytest.mark.parametrize("name", CASES)
def test_error(apply, name):
    arguments, rounded, rest = expected(name)
    errors = abs((apply(name, *arguments) - rounded) / np.spacing(abs(rounded)) - rest)
    worst = np.argmax(errors)
    assert errors[worst] <= CASES[name][2], (errors[worst], [a[worst] for a in arguments])


def same(values, wanted, rtol=0.0):
    np.testing.assert_allclose(values, wanted, rtol=rtol, atol=0)
    numbers = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(values[numbers]), np.signbit(wanted[numbers]))


def test_exp_stays_finite_and_normal_beyond_its_range(apply):
    ends = np.exp([-708.0, 709.0])
    same(apply("exp", [-708.1, -1e300, -np.inf]), np.full(3, ends[0]), 1e-15)
    same(apply("exp", [709.1, 1e300, np.inf]), np.full(3, ends[1]), 1e-15)
    same(apply("exp", [0.0, -0.0, 5e-324, -1e-320, np.nan]), np.array([1, 1, 1, 1, np.nan]))
    same(apply("expm1", [-1e300, -np.inf, 0.0, 5e-324, np.nan]), np.array([-1, -1, 0, 5e-324, np.nan]))


def test_log_of_special_numbers(apply):
    values = np.array([1.0, 0.0, -0.0, np.inf, -1.0, -5e-324, -np.inf, np.nan])
    for name in ("log", "log10"):
        same(apply(name, values), np.array([0, -np.inf, -np.inf, np.inf, *[np.nan] * 4]))
    same(apply("log10", 10.0 ** np.arange(1, 23)), np.arange(1.0, 23.0))


def test_pow_of_special_numbers(apply):
    sizes = [0.0, 5e-324, 0.3, 0.5, 1.0, 2.0, 2.5, 3.0, 1022.5, 1024.0, 2.0**53 - 1, 2.0**53, 1e300, 1.7e308, np.inf]
    values = np.array([*sizes, *np.negative(sizes), np.nan])
    x, y = (a.ravel() for a in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        wanted = np.power(x, y)
    size, largest, smallest = abs(wanted), np.finfo(float).max, np.finfo(float).tiny
    ordinary = np.isfinite(x) & np.isfinite(y) & (x != 0)  # these stay finite and normal
    wanted[ordinary & (size > largest)] = np.copysign(largest, wanted)[ordinary & (size > largest)]
    wanted[ordinary & (size < smallest)] = np.copysign(smallest, wanted)[ordinary & (size < smallest)]
    same(apply("pow", x, y), wanted, 5e-16)


@pytest.mark.parametrize("n", POWERS)
def test_whole_powers_of_special_numbers(apply, n):
    x = np.array([0.0, -2.0, np.inf, np.nan])
    with np.errstate(divide="ignore"):
        same(apply(f"power {n}", x), np.power(x, float(n)))


@pytest.mark.parametrize("name", ["sqrt", "fabs", "floor", "ceil"])
def test_exact_functions(apply, name):
    few = np.array(
        [0.0, 5e-324, 1e-300, 0.3, 0.5, 1.0, 1.5, 2.5, 3.0, 2.0**51 + 0.5, 2.0**52 - 0.5, 2.0**53 - 1, np.inf]
    )
    near = np.nextafter(np.arange(6.0)[:, None], [-np.inf, np.inf]).ravel()
    x = np.concatenate([few, near, spread(0, 100, 200), np.exp2(spread(-1074, 1024, 200))])
    x = np.concatenate([x, -x, [np.nan]])
    with np.errstate(invalid="ignore"):
        same(apply(name, x), getattr(np, name)(x))


def test_the_smaller_and_the_larger(apply):
    x, y = (a.ravel() for a in np.meshgrid([1.0, -2.0, np.inf, -np.inf, np.nan], [1.5, -1.0, np.inf, np.nan]))
    same(apply("min", x, y), np.where(x < y, x, y))
    same(apply("max", x, y), np.where(x > y, x, y))


@pytest.mark.parametrize("name", RARE)
def test_functions_of_the_c_library(apply, name):
    x = np.concatenate([spread(-1, 1, 100), [-0.0, np.nan]])
    same(apply(name, x), getattr(np, {"a": "arc"}.get(name[0], name[0]) + name[1:])(x), 5e-16)


@pytest.mark.parametrize("name", ["exp", "expm1", "log", "log10", "pow", "sqrt", "floor"])
def test_no_lane_knows_its_neighbours(apply, name):
    x = np.random.default_rng(0).permutation([*np.exp(spread(-300, 300, 500)), np.nan, np.inf, 0.0, -1.0, 1e-320])
    y = spread(-9, 9, len(x))
    for order in (np.arange(len(x))[::-1], np.random.default_rng(1).permutation(len(x))):
        assert apply(name, x[order], y[order]).tobytes() == apply(name, x, y)[order].tobytes()


def test_lanes_stay_together(build):
    """No compiler takes a vector apart: no arithmetic on one number."""
    command, _ = build
    if "-march" not in command[2]:
        pytest.skip("one lane, or not x86")
    assembly = subprocess.run([*command, "-S", "-o", "-"], capture_output=True, text=True, check=True).stdout
    assert re.findall(r"\bv?(?:add|sub|mul|div|sqrt|min|max|u?comi|cmp\w*|fn?m\w+|rndscale|round)sd\b", assembly) == []
