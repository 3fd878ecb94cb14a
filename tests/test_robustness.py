"""The table of faults: each line has a test; those that belong nowhere else."""

import ast
import re
import subprocess
import sys

import pytest
from tiny_job import ROOT, TINY, environment, metrics_of, run_cli

from cardioemu import load_emulator

LINES = [line for line in (ROOT / "docs" / "robustness.md").read_text().splitlines() if line.startswith("| ")]
FAULTS = [line for line in LINES if not line.startswith(("| fault", "| **"))]


@pytest.mark.parametrize("line", FAULTS, ids=lambda line: line.split("|")[1].strip())
def test_every_fault_has_its_test(line):
    file, name = re.search(r"`(test_\w+\.py)::(test_\w+)` \|$", line).groups()
    functions = [n.name for n in ast.parse((ROOT / "tests" / file).read_text()).body if isinstance(n, ast.FunctionDef)]
    assert name in functions


def test_any_path(tmp_path):
    """Everything that is written lies below such a folder, the compiled solver included."""
    here = tmp_path / "with space" / "it's 100 % = [ok], {no}" / "Zellen-Größe-心臓"
    here.mkdir(parents=True)
    home = {**environment(), "HOME": str(here), "XDG_CACHE_HOME": str(here / "cache")}
    run_cli(*TINY, "trainer.max_epochs=2", cwd=here, env=home)
    (folder,) = here.glob("runs/*/*")
    assert metrics_of(folder)["test/cells"] > 0
    assert [*here.glob("cache/**/*.so")]
    checkpoint = (folder / "best.ckpt").relative_to(here)
    run_cli(f"checkpoint={checkpoint}", "design.n=16", cwd=here, env=home, script="evaluate.py")
    assert [*here.glob("evaluations/*/*/report.html")]
    run_cli(f"resume={folder.relative_to(here)}", "trainer.max_epochs=3", cwd=here, env=home)
    assert load_emulator(folder / "best.ckpt").predict([[1, 1, 1, 1, 1]]).voltage_mV.shape == (1, 200)


def without(package, script, *arguments, cwd):
    """Runs a program where a package is not installed."""
    code = f"import runpy, sys; sys.modules[{package!r}] = None; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    command = [sys.executable, "-c", code, str(ROOT / script), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True)


def test_a_missing_package(tmp_path):
    assert without("optuna", "train.py", "dry_run=true", *TINY, cwd=tmp_path).returncode == 0
    told = without("optuna", "tune.py", "sweep=lstm", cwd=tmp_path)
    assert told.returncode != 0
    assert "optuna" in told.stderr.splitlines()[-1]
