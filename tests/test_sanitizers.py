"""The generated code of the test models under AddressSanitizer, UBSan and ThreadSanitizer: clean, and right."""

import shutil
import subprocess
import tempfile
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_cells import small_cell
from test_neighbours import paced, spontaneous
from test_operators import EXPRESSIONS, cell_of_all

from cardioemu.simulation import simulate
from cardioemu.simulation.solvers import SOLVERS, rodas
from cardioemu.simulation.solvers.rodas.compiler import ARITHMETIC, NATIVE
from cardioemu.simulation.solvers.rodas.solve import FIRST_STEP_MS, MAX_STEP_MS, STATUS
from cardioemu.simulation.solvers.rodas.source import system_size
from cardioemu.traces import SPACING_MS

pytestmark = pytest.mark.compiler

MAIN = Path(__file__).with_name("sanitized.c")
MEMORY, THREAD = "address,undefined", "thread"
BUILDS = [("gcc", MEMORY, ""), ("clang", MEMORY, ""), ("gcc", MEMORY, "-DLANES=1")]
THREADS = 3


def operators(folder):
    """Every operator of Myokit: each in the rate of one cell, all of them in the rate of another."""
    scales = np.vstack([np.eye(len(EXPRESSIONS)), np.ones(len(EXPRESSIONS))])
    return cell_of_all(folder, "({}) / 100"), scales, 3.0, {"record": ["m.term0", "m.between"]}


def bare(folder):
    """Neither scaled constants nor inputs, one cell: all but one lane are idle."""
    return small_cell(folder, {"V": 1}, {"V": "-V"}), np.empty((1, 0)), 10.0, {}


def absurd(folder):
    """Initial states far outside the domain of the equations."""
    cell, scales, _, settings = spontaneous(folder)
    initial = np.tile(cell.initial_state, (len(scales), 1))
    for row, value in enumerate([-1, 0, 1e6, -1e6, 1e300, -1e300, 5e-324, 1e150] * 2):
        initial[row, :: 1 + row // 8] = value
    return cell, scales, 20.0, settings | {"initial_state": initial}


# Models in one tuple have the same kernel. Scheduling of threads does not depend on the kernel.
MODELS = [(spontaneous, absurd), (paced,), (operators,), (bare,)]
CASES = [*product(MODELS, BUILDS), ((paced,), ("gcc", THREAD, ""))]


def name_of(case):
    return " ".join(part if isinstance(part, str) else part.__name__ for part in case)


@pytest.fixture(scope="module")
def problems(request, tmp_path_factory):
    """The folder of a kernel and, for each of its problems, the cell, the file and the traces of the solver."""
    folder = tmp_path_factory.mktemp("problems")
    return folder, [prepared(make, folder) for make in request.param]


def prepared(make, folder):
    cell, scales, duration, settings = make(folder)
    given = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SOLVERS, "rodas", SimpleNamespace(solve=lambda problem, *_: given.append(problem) or []))
        simulate(cell, scales, duration, **settings)
    write(given[0], folder / f"{make.__name__}.bin")
    kernel, source = folder / "kernel.c", rodas.generate(cell, given[0].record)
    assert not kernel.exists() or kernel.read_text() == source
    kernel.write_text(source)
    return cell, f"{make.__name__}.bin", simulate(cell, scales, duration, **settings)


def write(problem, path):
    """Write a problem as `rodas.solve` passes it, with a low step limit, since the sanitized program is slow."""
    cells, width = problem.initial.shape
    size = system_size(problem.cell.equations)
    states, atol = np.zeros((cells, size)), np.ones(size)
    states[:, :width], atol[:width] = problem.initial, problem.atol
    integers = np.array([cells, len(problem.schedule.edges_ms), 20_000, THREADS])
    parts = (
        np.array([problem.rtol, FIRST_STEP_MS, MAX_STEP_MS, SPACING_MS]),
        states,
        problem.scales * problem.cell.equations.control_values,
        atol,
        np.append(problem.schedule.edges_ms, problem.duration_ms),
        problem.schedule.levels,
    )
    path.write_bytes(integers.tobytes() + b"".join(np.asarray(part, dtype=float).tobytes() for part in parts))


def missing(compiler, sanitizer):
    """The reason why a sanitizer is not available, or ""."""
    if not shutil.which(compiler):
        return f"{compiler} is not installed"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "empty.c").write_text("int main(void) { return 0; }")
        command = f"{compiler} -fsanitize={sanitizer} empty.c -o empty && ./empty"
        result = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True)
    return f"{compiler} has no {sanitizer} that runs here: {result.stderr[-200:]}" if result.returncode else ""


def built(build, folder):
    """Build the program in the folder of a kernel."""
    compiler, sanitizer, options = build
    if reason := missing(compiler, sanitizer):
        pytest.skip(reason)
    flags = ["-O1", "-g", NATIVE, *ARITHMETIC, f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all", *options.split()]
    command = [compiler, *flags, "-I", str(folder), str(MAIN), "-o", "program", "-lm", "-lpthread"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def run(folder, file):
    """Run the program on a problem and return its output, one row per cell."""
    result = subprocess.run(["./program", file], cwd=folder, capture_output=True, text=True, timeout=300)
    assert (result.returncode, result.stderr) == (0, "")
    return [line.split() for line in result.stdout.splitlines()]


@pytest.mark.parametrize(("problems", "build"), CASES, indirect=["problems"], ids=name_of)
def test_clean_and_right(problems, build):
    folder, all_of_them = problems
    built(build, folder)
    for cell, file, traces in all_of_them:
        for row, trace in zip(run(folder, file), traces, strict=True):
            assert_same(row, trace, cell)


def assert_same(row, trace, cell):
    """Assert that the program and the solver ended a cell in the same way."""
    status, culprit, (end, voltage, *state) = int(row[0]), int(row[1]), map(float, row[2:])
    assert trace.status.startswith(STATUS[status])
    if status == 0:
        assert end == trace.step_time_ms[-1]
        assert voltage == pytest.approx(trace.step_voltage_mV[-1], rel=1e-4, abs=1e-4)
        np.testing.assert_allclose(state[: len(cell.states)], trace.final_state, rtol=1e-3, atol=1e-6)
    elif culprit >= 0:
        assert trace.status.startswith("too many") or cell.states[culprit] in trace.status


@pytest.mark.parametrize("room", [1024, 4096, 16384])
@pytest.mark.parametrize("problems", [(paced,)], indirect=True, ids=["paced"])
def test_clean_where_memory_ends(problems, room):
    """Arrays are limited to `room` bytes: with 1 kB and 4 kB no step, or only its time, can be recorded."""
    folder, [(_, file, traces)] = problems
    built(("gcc", MEMORY, f"-DROOM={room}"), folder)
    rows = run(folder, file)
    scarce = [STATUS[int(row[0])].startswith("no memory") for row in rows]
    assert any(scarce)
    for row, trace, short in zip(rows, traces, scarce, strict=True):
        assert short or trace.status.startswith(STATUS[int(row[0])])
        assert not short or room < 16384 or len(trace.step_time_ms) > 256
