"""Files of an earlier version: run folders, checkpoints, trace stores and window sets of commit 2a3563d still open."""

import json
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_job import ROOT, metrics_of, run_inside, runs

from cardioemu import load_emulator
from cardioemu.common.old_names import update_config
from cardioemu.simulation import TraceStore
from cardioemu.windowing import WindowSet

ARCHIVE = ROOT / "tests" / "data" / "earlier_version" / "files.tar.xz"


@pytest.fixture
def old(tmp_path):
    """The unpacked files, and what the earlier version made of them."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return SimpleNamespace(folder=tmp_path, **json.loads((tmp_path / "expected.json").read_text()))


def numbers(array):
    """An array of float64, None as NaN."""
    return np.array([[np.nan if value is None else value for value in np.atleast_1d(row)] for row in array], float)


def assert_same_metrics(found, expected):
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, rel=1e-5, nan_ok=True)


@pytest.mark.parametrize("network", ["lstm", "lstm2", "registered", "coordinate", "decoder"])
def test_predictions(old, network):
    emulator, expected = load_emulator(old.folder / "runs" / network / "best.ckpt"), old.predictions[network]
    found = emulator.predict(old.scales)
    as_if_firing_mV = emulator.voltage_mV(np.array(old.scales))
    for name, voltage_mV in (("voltage", found.voltage_mV), ("as_if_firing", as_if_firing_mV)):
        np.testing.assert_allclose(voltage_mV[:, :5], numbers(expected[f"{name}_mV_first_5"]), atol=1e-3, rtol=0)
    for name in ("fires", "fires_probability", "cycle_length_ms"):
        value = getattr(found, name)
        assert (value is None) == (name not in expected), name
        if value is not None:
            np.testing.assert_allclose(value, numbers([expected[name]])[0], rtol=1e-4, err_msg=name)


def test_a_run_is_resumed_on_the_old_traces_and_windows(old):
    made = {path: path.stat().st_mtime_ns for path in (old.folder / "data").rglob("*.[pn]*") if path.is_file()}
    result = run_inside("resume=runs/lstm", "trainer.max_epochs=4", cwd=old.folder)
    assert result.returncode == 0, result.stderr
    assert_same_metrics(metrics_of(old.folder / "runs" / "lstm"), old.resumed)
    assert [path.name for path in (old.folder / "data" / "traces").iterdir()] == [old.store]
    assert [path.name for path in (old.folder / "data" / "windows").iterdir()] == [old.windows]
    assert made == {path: path.stat().st_mtime_ns for path in made}


def test_an_evaluation_on_the_old_traces(old):
    own = ("checkpoint=runs/lstm/best.ckpt", f"traces=data/traces/{old.store}", "hydra.run.dir=evaluation")
    result = run_inside(*own, "published_lstm=false", cwd=old.folder, script="evaluate.py")
    assert result.returncode == 0, result.stderr
    metrics = metrics_of(old.folder / "evaluation")
    later = {name for name in metrics if name.startswith("gaussian_process/")}  # a baseline it did not have
    assert later
    assert_same_metrics({name: value for name, value in metrics.items() if name not in later}, old.evaluated)


def test_records_that_wait_are_sent(old):
    """Those of another run are damaged, which keeps no others back."""
    damaged = old.folder / "runs_unsent" / "damaged" / "unsent"
    damaged.mkdir(parents=True)
    (damaged / "calls.jsonl").write_text('["end", {}]')
    (damaged / "sent").write_text("x")
    result = run_inside("tracking=sqlite", "runs_dir=runs_unsent", cwd=old.folder, script="sync.py", check=False)
    assert result.returncode == 2, result.stderr
    assert "runs_unsent/damaged: its records cannot be sent (invalid literal" in result.stderr
    assert result.stdout.splitlines()[-1].endswith("records of 1 run")
    (run,) = runs(old.folder)
    assert (run.info.run_name, run.info.status) == (old.unsent["name"], old.unsent["status"])
    assert run.data.metrics == pytest.approx(old.unsent["metrics"])
    assert not (old.folder / "runs_unsent" / "lstm" / "unsent").exists()


def test_store_and_windows(old):
    store = TraceStore(old.folder / "data" / "traces" / old.store)
    windows = WindowSet(old.folder / "data" / "windows" / old.windows, store.scaled, old.windows)
    assert (len(store.cells()), store.verify()) == (12, {})
    rows = np.flatnonzero(windows.windowed)
    time_ms = windows.cells["begin_ms"][rows[0]][0] + 6.0 * np.arange(50)
    trace = store.trace(int(windows.cells["cell"][rows[0]]))
    np.testing.assert_allclose(windows.windows(rows[:1])[0, 0], trace.voltage_mV(time_ms), atol=1e-3)


def test_a_config_names_the_present_classes_and_settings():
    old = {"campaign": {"_target_": "cardioemu.simulation.Engine", "engine": "local"}, "list": [1, {"engine": "own"}]}
    new = {"campaign": {"_target_": "cardioemu.simulation.Executor", "executor": "local"}, "list": old["list"]}
    old["trainer"] = {"_target_": "cardioemu.training.make_trainer", "_partial_": True, "max_epochs": 3}
    new["trainer"] = {"_target_": "cardioemu.training.TrainerSettings", "max_epochs": 3}
    assert update_config(old) == new
    assert update_config(new) == new
