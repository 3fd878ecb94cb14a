"""The table of faults: each line has a test; those that belong nowhere else."""

import ast
import re
import subprocess
import sys

import pytest
from tiny_job import ROOT, TINY, environment, metrics_of, run_cli, run_inside

from cardioemu import load_emulator

LINES = [line for line in (ROOT / "docs" / "robustness.md").read_text().splitlines() if line.startswith("| ")]
FAULTS = [line for line in LINES if not line.startswith(("| fault", "| **"))]


def test_every_fault_has_its_test():
    named = [re.search(r"`(test_\w+\.py)::(test_\w+)` \|$", line) for line in FAULTS]
    assert len(named) > 40
    assert all(named)
    assert [test[0] for test in named if test[2] not in functions(test[1])] == []


def functions(file):
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


@pytest.mark.program
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
    run_inside(f"checkpoint={checkpoint}", "design.n=16", cwd=here, env=home, script="evaluate.py")
    assert [*here.glob("evaluations/*/*/report.html")]
    run_inside(f"resume={folder.relative_to(here)}", "trainer.max_epochs=3", cwd=here, env=home)
    assert load_emulator(folder / "best.ckpt").predict([[1, 1, 1, 1, 1]]).voltage_mV.shape == (1, 200)


OPTIONAL = ("optuna", "dask", "distributed", "dask_jobqueue", "hydra_plugins.hydra_submitit_launcher", "pynvml")


def without_packages(script, *arguments, cwd):
    """Runs a program where these packages are not installed."""
    hidden = f"import runpy, sys; sys.modules.update(dict.fromkeys({OPTIONAL!r}))"
    code = f"{hidden}; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    command = [sys.executable, "-c", code, str(ROOT / script), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True)


@pytest.mark.program
def test_a_missing_package(tmp_path):
    small = ("design=sobol", "design.n=4", "simulator.duration_ms=100")
    for script, arguments in (("train.py", ["dry_run=true", *TINY]), ("simulate.py", small)):
        result = without_packages(script, *arguments, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    assert [*tmp_path.glob("data/traces/*/*.parquet")]
    for script, arguments, sentence in (
        ("tune.py", ["sweep=lstm"], r"ModuleNotFoundError: .*optuna.*"),
        ("simulate.py", ["campaign=dask", *small, "design.n=5"], r'campaign: .*; pip install "cardioemu\[cluster\]"'),
    ):
        result = without_packages(script, *arguments, cwd=tmp_path)
        assert result.returncode != 0
        assert re.fullmatch(sentence, result.stderr.splitlines()[-1]), result.stderr
