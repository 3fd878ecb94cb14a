"""Traces agree for all instruction sets and compilers, to the accuracy of the solver."""

import platform
import shutil

import numpy as np
import pytest
from small_cells import small_cell

from cardioemu.simulation import design, load_cell, simulate
from cardioemu.simulation.pacing import Pacing
from cardioemu.simulation.solvers.rodas import compiler

pytestmark = pytest.mark.compiler

X86 = platform.machine().lower() in ("x86_64", "amd64")
TARGETS = ["", "-DLANES=1", "-O0", *(["-march=x86-64-v3", "-march=x86-64-v2", "-march=x86-64-v2 -DLANES=1"] * X86)]
CPU_FLAGS = {"-march=x86-64-v3": "avx2", "-march=x86-64-v2": "sse4_2"}


@pytest.fixture(params=[f"{name} {options}".strip() for name in ("gcc", "clang") for options in TARGETS])
def toolchain(request, monkeypatch):
    """A compiler with options, in $CC."""
    name, *options = request.param.split()
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    missing = [flag for option, flag in CPU_FLAGS.items() if option in options and flag not in compiler._cpu().split()]
    if missing:
        pytest.skip(f"this CPU has no {missing[0]}")
    monkeypatch.setenv("CC", request.param)
    return request.param


def spontaneous(folder):
    return load_cell("akwaboah2021"), design("sobol", n=11), {"record": ["ikr.I_Kr"]}


RATES = {"V": "(V - V^3 / 3 - w + pace) / 2", "w": "0.08 * (V + 0.7 - 0.8 * w) * g + cos(engine.time / 5) / 50"}
MORE = "pace = 0 bind pace\ng = 1\ncurrent = if(V > 0, V^1.3, -abs(V)^0.7) + log10(2 + w) * atan(V) * tan(w / 9)"


def paced(folder):
    cell = small_cell(folder, {"V": -1.2, "w": -0.6}, RATES, MORE, {"g": "m.g"})
    return cell, np.linspace(0.2, 2, 11)[:, None], {"record": ["m.current"], "protocol": Pacing(37, 1.5, 4, 1.2)}


@pytest.fixture(scope="module", params=[spontaneous, paced], ids=lambda make: make.__name__)
def population(request, tmp_path_factory):
    """A function that simulates some of the cells, and the traces with the default compiler and CPU."""
    cell, scales, settings = request.param(tmp_path_factory.mktemp("cells"))

    def run(rows=slice(None)):
        return simulate(cell, scales[rows], 300.0, rtol=1e-8, **settings)

    return run, run()


def test_traces_are_the_same(population, toolchain):
    """Rounding differs, and may decide whether a step is accepted: the steps differ, the curves do not."""
    run, here = population
    t = np.linspace(0, 300, 1501)
    for trace, other in zip(run(), here, strict=True):
        assert trace.status == other.status == "ok"
        np.testing.assert_allclose(trace.final_state, other.final_state, rtol=1e-8, atol=1e-10)
        size = np.abs(other.step_voltage_mV).max()  # float32 rounds by 6e-8 of it
        np.testing.assert_allclose(trace.voltage_mV(t), other.voltage_mV(t), atol=3e-7 * size)
        for name, recording in other.recorded.items():
            size = np.abs(recording.step_value).max()
            np.testing.assert_allclose(trace.recorded[name].at(t), recording.at(t), atol=1e-6 * size)


def test_neighbours_do_not_change_a_cell(population, toolchain):
    run, _ = population
    for a, b in zip(run()[3:8], run(slice(3, 8)), strict=True):
        assert np.array_equal(a.final_state, b.final_state)
        assert np.array_equal(a.step_time_ms, b.step_time_ms)


@pytest.mark.parametrize("name", ["gcc", "clang"])
def test_options_choose_the_instruction_set(monkeypatch, tmp_path, name):
    if not (X86 and shutil.which(name)):
        pytest.skip("only for x86, where the compiler is installed")
    monkeypatch.setattr(compiler.platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    monkeypatch.setenv("CC", f"{name} -march=x86-64-v2")
    source = "#ifdef __AVX__\nint avx(void) { return 1; }\n#else\nint avx(void) { return 0; }\n#endif\n"
    assert compiler.load(source).avx() == 0
