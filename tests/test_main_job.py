"""The programs as a user runs them: folders and records in MLflow."""

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_job import (
    ROOT,
    TINY,
    client,
    command,
    metrics_of,
    own_metrics,
    run_inside,
    run_of,
    runs,
    share_data,
    shown,
)

from cardioemu import load_emulator


def test_what_a_run_leaves(job):
    assert sorted(path.name for path in job.folder.iterdir()) == [
        ".holder", ".lock",
        "best.ckpt", "config.yaml", "figures", "last.ckpt", "metrics.json", "mlflow_run_id", "previous.ckpt",
        "test_cells.csv"
    ]  # fmt: skip
    assert sorted(path.name for path in job.cwd.iterdir()) == [
        "data", "mlartifacts", "mlflow.db", "mlflow.db.lock", "runs"
    ]  # fmt: skip
    assert [path.name for path in (job.folder / "figures").iterdir()] == ["test.png"]
    metrics = metrics_of(job.folder)
    assert {
        "train/loss", "val/rmse_mV", "val/rmse_mV_best", "test/rmse_mV_mean", "test/rmse_mV_median",
        "test/rmse_mV_p95", "test/rmse_mV_max", "test/rmse_floor_mV", "test/cells"
    } <= set(metrics)  # fmt: skip
    assert all(isinstance(value, float) and np.isfinite(value) for value in metrics.values())
    assert metrics["test/rmse_floor_mV"] <= metrics["test/rmse_mV_mean"] <= metrics["test/rmse_mV_max"]


def test_what_a_run_prints(job):
    metrics = metrics_of(job.folder)
    assert re.search(rf"^run folder +{re.escape(str(job.folder))}$", job.out, re.M)
    (row,) = re.findall(r"^window RMSE \(mV\) +(.+)$", job.out, re.M)
    expected = [metrics[f"test/rmse_mV_{name}"] for name in ("mean", "median", "p95", "max")]
    assert [float(word) for word in row.split()] == pytest.approx([*expected, metrics["test/cells"]], rel=5e-3)
    assert re.search(r"^24 cells: \d+ windowed, \d+ quiescent", job.out, re.M)
    assert "Traceback" not in job.err


def test_test_metrics_are_those_of_the_best_checkpoint(job, data):
    rows = data.cell_indices["test"]
    windows = data.windows.windows(rows)
    with pytest.warns(UserWarning, match="outside the trained range"):
        predicted = load_emulator(job.folder / "best.ckpt").predict(data.windows.scales[rows]).voltage_mV
    error = np.sqrt(((windows - predicted[:, None]) ** 2).mean(axis=(1, 2)))
    assert metrics_of(job.folder)["test/rmse_mV_mean"] == pytest.approx(error.mean(), rel=1e-4)
    assert metrics_of(job.folder)["test/cells"] == len(rows)


def datasets_of(run):
    return {item.dataset.name: item.dataset for item in run.inputs.dataset_inputs}


def test_what_mlflow_holds(job):
    run = run_of(job.folder, job.cwd)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == job.folder.name
    assert run.data.params["model.hidden"] == "8"
    assert run.data.params["windowing.settle_ms"] == "500"
    assert run.data.params["trainer.max_epochs"] == "4"
    assert run.data.params["design"] == "sobol"
    assert len(run.data.params) < 15
    assert own_metrics(run) == pytest.approx(shown(metrics_of(job.folder)))
    assert run.data.metrics["Overview/val_rmse_mV"] == run.data.metrics["val/rmse_mV"]
    note = run.data.tags["mlflow.note.content"]
    assert f"| test | {run.data.metrics['test/rmse_mV_mean']:.3g} | " in note
    assert f"(#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/model-metrics?" in note
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= set(run.data.metrics)
    history = client(job.cwd).get_metric_history(run.info.run_id, "val/rmse_mV")
    assert [metric.step for metric in history] == [0, 1, 2, 3]
    assert run.data.tags["machine.cores"] == str(os.cpu_count())
    assert run.data.tags["command"].startswith(f"python {ROOT / 'train.py'} design=sobol ")
    datasets = datasets_of(run)
    assert datasets.keys() == {"traces", "windows"}
    for name, dataset in datasets.items():
        assert (job.cwd / "data" / name / Path(json.loads(dataset.source)["uri"]).name).is_dir()
        assert json.loads(dataset.source)["uri"].rpartition("/")[2].rpartition("-")[2] == dataset.digest
    assert json.loads(datasets["windows"].profile)["cells.train"] == 8
    assert "cells.windowed" in json.loads(datasets["windows"].profile)
    assert len(run.outputs.model_outputs) == 1
    # Of the code, not of the folder where the job was started.
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.data.tags.get("git.commit", "") == head.stdout.strip()


def test_artifacts_of_a_run(job, tmp_path):
    found, run = client(job.cwd), run_of(job.folder, job.cwd)

    def names(folder=None):
        return {item.path for item in found.list_artifacts(run.info.run_id, folder)}

    assert {"config.yaml", "metrics.json", "environment.txt", "figures", "test_cells.csv"} <= names()
    table = pd.read_csv(found.download_artifacts(run.info.run_id, "test_cells.csv", str(tmp_path)))
    assert table["rmse_mV"].mean() == pytest.approx(run.data.metrics["test/rmse_mV_mean"])
    assert list(table.columns[:6]) == ["cell", "ICaL", "IK1", "IKr", "IKur", "INa"]
    recorded = Path(found.download_artifacts(run.info.run_id, "metrics.json", str(tmp_path)))
    assert json.loads(recorded.read_text()) == metrics_of(job.folder)
    config = Path(found.download_artifacts(run.info.run_id, "config.yaml", str(tmp_path)))
    assert config.read_text() == (job.folder / "config.yaml").read_text()
    assert names("figures") == {"figures/test.png"}
    steps = {int(re.search(r"step[%+](\d+)|step_(\d+)", path)[1]) for path in names("images") if path.endswith(".png")}
    assert steps == {0, 3}  # first and last epoch
    diff = subprocess.run(["git", "diff", "HEAD"], cwd=ROOT, capture_output=True).stdout
    assert ("git.diff" in names()) == bool(diff)
    packages = Path(found.download_artifacts(run.info.run_id, "environment.txt", str(tmp_path))).read_text()
    assert f"torch=={torch.__version__.partition('+')[0]}" in packages


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_second_run_is_the_same_and_simulates_nothing(job, tmp_path):
    before = contents(job.cwd / "data")
    assert {path.suffix for path in before if path.name[0] not in "._"} == {".parquet", ".npy"}
    run_inside(*share_data(job, tmp_path), "trainer.max_epochs=4", cwd=tmp_path)
    (folder,) = tmp_path.glob("runs/*/*")
    assert metrics_of(folder) == metrics_of(job.folder)
    assert contents(job.cwd / "data") == before


def test_two_runs_at_once_on_a_fresh_folder(begin, tmp_path):
    for process in [begin(command(*TINY, "trainer.max_epochs=2"), tmp_path) for _ in range(2)]:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    first, second = tmp_path.glob("runs/*/*")
    assert metrics_of(first) == metrics_of(second)
    assert [run.info.status for run in runs(tmp_path)] == ["FINISHED", "FINISHED"]
    assert not [path for path in (tmp_path / "data").rglob("*") if path.name.endswith(".tmp")]


def test_dry_run_of_the_seed_at_full_size(begin, tmp_path):
    process = begin(command("dry_run=true", "model.hidden=12000"), tmp_path)
    printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert used.ru_maxrss < 2e6  # kB: it does not hold the 3.4 GB of weights
    assert re.search(r"^total +840310000$", printed, re.M)
    assert "simulate 341 cells of 5 s, 311 of them distinct" in printed
    assert not list(tmp_path.iterdir())


def test_dry_run_of_a_sweep_records_nothing(tmp_path):
    result = run_inside("-m", "dry_run=true", "model.hidden=3,4", cwd=tmp_path)
    assert len(re.findall(r"^total", result.stdout, re.M)) == 2
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {"multirun.yaml"}


def test_simulate(job, tmp_path):
    arguments = ("design=sobol", "design.n=24", "simulator.duration_ms=2500")
    result = run_inside(*arguments, cwd=tmp_path, script="simulate.py")
    *summary, _, place, samples = result.stdout.splitlines()
    assert summary[0].startswith("24 cells, 24 distinct scale vectors, ")
    assert sum(int(line.split()[1]) for line in summary[2:6]) == 24  # fires, stops, quiescent, failed
    (store,) = tmp_path.glob("data/traces/*")
    assert place == f"trace store {store.relative_to(tmp_path)}"
    assert samples == f"samples     {store.relative_to(tmp_path)}/_traces.png"
    assert (store / "_summary.txt").read_text().splitlines() == summary
    assert (store / "_traces.png").read_bytes().startswith(b"\x89PNG")
    assert "24 cells, 24 distinct; 60 s of simulated time: about " in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    # Of the same content as the store that train.py made.
    assert store.name.endswith(f"-{datasets_of(run_of(job.folder, job.cwd))['traces'].digest}")


def test_dry_run_of_a_campaign(job, tmp_path):
    tiny = ("design=sobol", "design.n=24", "simulator.duration_ms=2500", "dry_run=true")
    printed = run_inside(*tiny, "campaign=slurm", "campaign.job.queue=short", cwd=tmp_path, script="simulate.py").stdout
    assert printed.startswith("24 cells, 24 distinct; 60 s of simulated time: about ")
    assert "\n#SBATCH -p short\n" in printed
    assert not list(tmp_path.iterdir())
    printed = run_inside(*tiny, f"data_dir={job.cwd / 'data'}", cwd=tmp_path, script="simulate.py").stdout
    assert printed == "these traces exist already\n"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_run_on_a_gpu(job, tmp_path):
    run_inside(*share_data(job, tmp_path), "trainer=gpu", "trainer.max_epochs=4", cwd=tmp_path)
    (folder,) = tmp_path.glob("runs/*/*")
    found, expected = metrics_of(folder), metrics_of(job.folder)
    assert found["val/rmse_mV"] == pytest.approx(expected["val/rmse_mV"], rel=0.01)
