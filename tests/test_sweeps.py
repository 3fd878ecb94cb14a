"""Sweeps as a user runs them: side by side, repeated, with jobs that fail; and one long run in their place."""

import os
import re

import pandas as pd
import pytest
from tiny_job import (
    TINY,
    children_of,
    client,
    error_message,
    metrics_of,
    own_metrics,
    run_cli,
    run_inside,
    runs,
    share_data,
    shown,
)

from cardioemu.config.overrides import parallel_jobs
from cardioemu.tracking.params import parse_run_name, select_params

pytestmark = pytest.mark.xdist_group("sweeps")  # one sweep for several


def test_a_sweep(tmp_path):
    result = run_inside("-m", *TINY, "trainer.max_epochs=1,2,3", cwd=tmp_path)
    (folder,) = tmp_path.glob("runs/*-*/*")
    assert folder.name.endswith("-sweep")
    assert sorted(path.name for path in folder.iterdir()) == ["0", "1", "2", "multirun.yaml"]
    parent, *children = runs(tmp_path)
    assert len(children) == 3
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    assert parent.info.run_name == "sweep trainer.max_epochs=1,2,3"
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    for i, child in enumerate(children):
        assert child.info.run_id == (folder / str(i) / "mlflow_run_id").read_text()
        assert child.info.run_name == f"trainer.max_epochs={i + 1}"
        assert child.data.params["trainer.max_epochs"] == str(i + 1)
        assert own_metrics(child) == pytest.approx(shown(metrics_of(folder / str(i))))
        history = client(tmp_path).get_metric_history(child.info.run_id, "train/loss")
        assert len(history) == i + 1
    assert len(list(tmp_path.glob("data/traces/*/*.parquet"))) == 1
    written = [path.stat().st_mtime for path in tmp_path.glob("data/*/*/*")]
    assert max(written) < (folder / "0" / "last.ckpt").stat().st_mtime
    assert "Traceback" not in result.stderr


def test_a_failing_job_of_a_sweep(job, tmp_path):
    """Of four one has no windows, and two do not fit into memory; the one that can be done is done."""
    arguments = [o for o in share_data(job, tmp_path) if not o.startswith("model.hidden")]
    swept = ("windowing.count=9,1", "model.hidden=8,200000")
    result = run_inside("-m", *arguments, "trainer.max_epochs=1", *swept, cwd=tmp_path, check=False)
    windows, memory = "data: the train split has no cell with windows", "memory_check: the run needs "
    assert f"job 0 failed: {windows}" in result.stderr
    assert f"job 1 failed: {memory}" in result.stderr
    assert error_message(result).startswith(windows)
    parent, *children = runs(tmp_path)
    assert [child.info.status for child in children] == ["FAILED", "FAILED", "FINISHED", "FAILED"]
    names = [f"model.hidden={hidden},windowing.count={count}" for count in (9, 1) for hidden in (8, 200000)]
    assert [child.info.run_name for child in children] == names
    assert parent.info.status == "FAILED"
    for child, why in zip(children, (windows, memory, "", memory), strict=True):
        assert child.data.tags.get("failure", "").startswith(why)
    assert children[0].data.tags["mlflow.note.content"].startswith(f"Failed: {windows}")
    # A table at the end, and the reasons under it.
    rows = (r" +8 +9 +FAILED .*", r" +200000 +9 +FAILED .*", r" +8 +1 FINISHED .*", r" +200000 +1 +FAILED")
    assert re.search("\n".join([r"^ *model.hidden +windowing.count +status .*", *rows]), result.stdout, re.M)
    assert f"{names[0]} failed: {windows}" in result.stdout
    assert f"{names[1]} failed: {memory}" in result.stdout


@pytest.fixture(scope="module")
def swept(job, tmp_path_factory):
    """A sweep over epochs and sizes, its jobs side by side: its folder and what it printed."""
    cwd = tmp_path_factory.mktemp("swept")
    unbounded = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    return cwd, run_cli(*side_by_side(job, cwd), cwd=cwd, env=unbounded)


def side_by_side(job, cwd, epochs="2,3"):
    arguments = [o for o in share_data(job, cwd) if not o.startswith("model.hidden")]
    return ("-m", "hydra/launcher=joblib", *arguments, f"trainer.max_epochs={epochs}", "model.hidden=8,16")


def test_jobs_side_by_side_lose_nothing(swept):
    cwd, result = swept
    parent, *children = runs(cwd)
    assert "locked" not in result.stderr
    assert [run.info.status for run in (parent, *children)] == ["FINISHED"] * 5
    names = {f"model.hidden={hidden},trainer.max_epochs={epochs}" for hidden in (8, 16) for epochs in (2, 3)}
    assert {child.info.run_name for child in children} == names
    for child in children:
        for name in ("train/loss", "val/rmse_mV"):
            history = client(cwd).get_metric_history(child.info.run_id, name)
            assert [metric.step for metric in history] == [*range(int(child.data.params["trainer.max_epochs"]))]
    cores = len(os.sched_getaffinity(0))
    assert {child.data.tags["machine.threads"] for child in children} == {str(cores // min(cores, 4))}


def test_the_table_of_a_sweep(swept, tmp_path):
    cwd, result = swept
    parent, *children = runs(cwd)
    assert {"runs.csv", "errors.png"} <= {file.path for file in client(cwd).list_artifacts(parent.info.run_id)}
    table = pd.read_csv(client(cwd).download_artifacts(parent.info.run_id, "runs.csv", str(tmp_path)))
    expected = {child.info.run_name: child.data.metrics["test/rmse_mV_mean"] for child in children}
    assert table.set_index("name")["test/rmse_mV_mean"].to_dict() == pytest.approx(expected)
    assert parent.data.metrics["runs.finished"] == 4
    assert len(re.findall(r"^ +(8|16) +[23] FINISHED ", result.stdout, re.M)) == 4


def test_a_repeated_sweep_runs_nothing_twice(job, swept):
    cwd, _ = swept
    before = {run.info.run_id: run.info.end_time for run in runs(cwd)}
    folders = set(cwd.glob("runs/*-*/*/[!m]*"))  # all but multirun.yaml
    result = run_cli(*side_by_side(job, cwd), cwd=cwd)
    parent, *children = runs(cwd)
    assert {run.info.run_id for run in (parent, *children)} == before.keys()
    assert all(before[child.info.run_id] == child.info.end_time for child in children)
    assert parent.info.status == "FINISHED"
    assert len(re.findall(r"^ +(8|16) +[23] FINISHED ", result.stdout, re.M)) == 4
    assert set(cwd.glob("runs/*-*/*/[!m]*")) == folders
    # A larger sweep takes over what it has in common with this one.
    run_cli(*side_by_side(job, cwd, epochs="3,4"), cwd=cwd)
    first, second = (run for run in runs(cwd) if run.info.run_name.startswith("sweep"))
    below = [children_of(parent, runs(cwd)) for parent in (first, second)]
    assert [len(children) for children in below] == [2, 4]
    assert len(before.keys() & {run.info.run_id for run in below[1]}) == 2


@pytest.mark.long
def test_a_sweep_takes_over_a_run_that_was_none_of_a_sweep(job, tmp_path):
    arguments = share_data(job, tmp_path)
    run_inside(*arguments, "trainer.max_epochs=2", cwd=tmp_path)
    result = run_inside("-m", *arguments, "trainer.max_epochs=1,2", cwd=tmp_path)
    assert len(runs(tmp_path)) == 3
    (file,) = tmp_path.glob("runs/sweeps/*/runs.csv")
    assert sorted(pd.read_csv(file)["trainer.max_epochs"]) == [1, 2]
    assert "already finished" in result.stdout
    assert file.with_name("errors.png").exists()


@pytest.mark.long
def test_a_repeated_sweep_runs_what_failed_again(job, tmp_path):
    folder = tmp_path / "data"
    folder.symlink_to(job.cwd / "data")
    arguments = ("-m", *TINY, f"data_dir={folder}", "trainer.max_epochs=1,2")
    folder.rename(tmp_path / "away")
    folder.touch()
    refused = run_inside(*arguments, cwd=tmp_path, check=False)
    assert "cannot be read (Not a directory)" in error_message(refused)
    assert [run.info.status for run in runs(tmp_path)] == ["FAILED"] * 3
    folder.unlink()
    (tmp_path / "away").rename(folder)
    result = run_inside(*arguments, cwd=tmp_path)
    assert result.stdout.count("FINISHED") == 2
    parent, *children = runs(tmp_path)
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["failure"] == ""
    assert sorted(child.info.status for child in children) == ["FAILED", "FAILED", "FINISHED", "FINISHED"]


@pytest.mark.program
def test_jobs_of_a_cluster(job, tmp_path):
    """Submitit, by its executor that starts the jobs on this machine."""
    arguments = (*share_data(job, tmp_path), "trainer.max_epochs=1,2", "hydra.launcher.timeout_min=10")
    run_cli("-m", "hydra/launcher=submitit_local", *arguments, cwd=tmp_path)
    parent, *children = runs(tmp_path)
    assert [run.info.status for run in (parent, *children)] == ["FINISHED"] * 3
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}


@pytest.mark.long
def test_one_long_run_gives_the_same_curve(job, tmp_path):
    arguments = share_data(job, tmp_path)
    run_inside("-m", *arguments, "trainer.max_epochs=2,5,9", cwd=tmp_path)
    run_inside(*arguments, "trainer.max_epochs=9", "milestones=[2,5,9]", cwd=tmp_path)
    *_, long = runs(tmp_path)
    children = [run for run in runs(tmp_path) if "mlflow.parentRunId" in run.data.tags]
    separate = {int(run.data.params["trainer.max_epochs"]): run.data.metrics for run in children}
    for name in ("rmse_mV_mean", "rmse_mV_max", "apd90_mape_percent"):
        history = client(tmp_path).get_metric_history(long.info.run_id, f"milestone/{name}")
        curve = {metric.step: metric.value for metric in history}
        assert curve == {epochs: metrics[f"test/{name}"] for epochs, metrics in separate.items()}
    assert len({metrics["test/rmse_mV_mean"] for metrics in separate.values()}) == 3
    assert long.data.metrics["test/rmse_mV_mean"] == separate[9]["test/rmse_mV_mean"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.b=1,c=2", {"a.b": "1", "c": "2"}),
        ("model=lstm2", {"model": "lstm2"}),
        ("milestones=[1,2],x=3", {"milestones": "[1,2]", "x": "3"}),
        ("scaled={a: 1, b: 2},x=3", {"scaled": "{a: 1, b: 2}", "x": "3"}),
        ("12-00-00", {}),
        ("", {}),
    ],
)
def test_names_of_runs_are_settings(name, expected):
    assert parse_run_name(name) == expected


def test_params_are_what_people_filter_by():
    """A fixed few, and all that the command line, a sweep or a preset changed, but not where a job runs."""
    config = {"seed": 0, "data": {"batch_size": 32, "test": 0.1}, "data_dir": "data", "smoothing": False}
    config["model"] = {"_target_": "cardioemu.models.MLP", "_partial_": True, "width": 8, "depth": 2}
    assert select_params(config, [], "") == {"model": "MLP", "model.width": 8, "seed": 0}
    command = ["-m", "experiment=steady", "model=mlp", "data.batch_size=16,32", "+smoothing=true", "data_dir=elsewhere"]
    assert select_params(config, [*command, "trials=9", "--no=1"], "data.batch_size=32") == {
        **{"model": "mlp", "model.width": 8, "seed": 0},
        **{"experiment": "steady", "data.batch_size": 32, "smoothing": False},
    }


@pytest.mark.parametrize(
    ("overrides", "jobs", "expected"),
    [
        (["seed=1,2"], 2, 1),
        (["hydra/launcher=submitit_local"], 9, 1),
        (["hydra/launcher=joblib"], 3, 3),
        (["hydra/launcher=joblib"], 99, 16),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=4"], 99, 4),
    ],
)
def test_jobs_at_once(overrides, jobs, expected):
    assert parallel_jobs(overrides, jobs, cores=16) == expected
