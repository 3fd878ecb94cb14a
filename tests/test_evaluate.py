"""The evaluate job as a user runs it: its metrics, its files, and the mistakes it reports."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_job import client, error_message, evaluate, metrics_of, own_metrics, run_inside, run_of, shown

from cardioemu import load_emulator
from cardioemu.data import TEST, TRAIN
from cardioemu.evaluation import nearest_cell_rmse_mV
from cardioemu.settings.evaluate import distinguishing_names

pytestmark = pytest.mark.xdist_group("evaluation")  # one for all

NAMES = ["emulator", "nearest_cell", "linear_interpolation", "pca_ridge", "gaussian_process"]
SAME = r"compare: got the same emulator twice; list each emulator once"
ONE_NAME = r"compare: got one name twice; give each emulator its own name, as {one: A"
NO_NAME = r"'; allowed are letters, digits and . _ -, except the names near"
MISTAKES = [
    ("traces={job}/data", r"traces: got .*/data, which is not a trace store; give the folder that simulate prints"),
    ("compare=[{best}]", SAME),
    ("checkpoint=null", r"checkpoint: got null; set checkpoint=RUN_FOLDER/best.ckpt or compare=\[A,B\]"),
    ("checkpoint=nowhere.ckpt", r"checkpoint: there is no file nowhere.ckpt; give the best.ckpt or last.ckpt of"),
    ("design.n=3", r"design: no unseen cell has windows; use a larger or another design, or longer traces"),
    ("duration_ms=600", r"duration_ms: got traces of 600 ms, but the windows of emulator need at least 947.5 ms; use"),
    ("compare={{emulator: {best}}}", SAME),
    ("compare={{emulator: other.ckpt}}", ONE_NAME),
    ("compare=[a b.ckpt,a_b.ckpt]", ONE_NAME),
    ("compare={{nearest_cell: a.ckpt}}", "compare: got the name 'nearest_cell" + NO_NAME),
    ("compare={{a/b: a.ckpt}}", "compare: got the name 'a/b" + NO_NAME),
]


def test_on_its_own_design_it_measures_the_test_part(evaluation, job):
    excluded = "20 of 24 cells are excluded: an emulator used their scales for training or validation"
    assert excluded in evaluation.err.splitlines()
    outside = r"^INa: 2 of 4 cells are outside the trained range \S+ to \S+; predictions there are extrapolations$"
    assert re.search(outside, evaluation.err, re.M)
    tested = metrics_of(job.folder)
    shared = [name for name in tested if name.startswith("test/")]
    assert len(shared) > 30
    for name in shared:
        assert evaluation.metrics[name.replace("test/", "emulator/")] == pytest.approx(tested[name], rel=1e-6), name


def test_the_baselines_use_the_train_split_only(evaluation, data):
    scales, rows, trained = data.windows.scales, data.cell_indices[TEST], data.cell_indices[TRAIN]
    nearest = nearest_cell_rmse_mV(scales, rows, trained, data.windows.batches)
    assert evaluation.metrics["nearest_cell/rmse_mV_mean"] == pytest.approx(nearest.mean(), rel=1e-5)
    table = pd.read_csv(evaluation.folder / "cells.csv")
    own = table[table["emulator"] == "emulator"]
    assert own["cell"].tolist() == rows.tolist()
    gaps = np.linalg.norm(scales[rows][:, None] - scales[trained], axis=2).min(axis=1)
    np.testing.assert_allclose(own["distance"], gaps, rtol=1e-5)


def test_firing_is_measured_on_all_unseen_cells(evaluation, data):
    counts = {name: value for name, value in evaluation.metrics.items() if name.startswith("nearest_cell/confusion")}
    unseen = data.split == TEST
    assert sum(counts.values()) == unseen.sum() == 4
    fires = data.windows.cells["label"].eq("fires").to_numpy()
    known = np.flatnonzero(data.split == TRAIN)
    scales = data.windows.scales
    nearest = known[np.linalg.norm(scales[unseen][:, None] - scales[known], axis=2).argmin(axis=1)]
    right = (fires[nearest] == fires[unseen]).mean()
    assert evaluation.metrics["nearest_cell/fires_accuracy"] == right
    assert not [name for name in evaluation.metrics if name.startswith("emulator/fires")]  # it has no such output


def test_files_of_an_evaluation(evaluation):
    assert sorted(path.name for path in evaluation.folder.iterdir()) == [
        ".holder", ".lock", "cells.csv", "config.yaml", "figures", "metrics.json", "mlflow_run_id", "report.html"
    ]  # fmt: skip
    assert {name.split("/")[0] for name in evaluation.metrics} == set(NAMES)
    assert all(np.isfinite(value) for value in evaluation.metrics.values())
    table = pd.read_csv(evaluation.folder / "cells.csv")
    assert list(table["emulator"].unique()) == NAMES
    for name, cells in table.groupby("emulator"):
        assert cells["rmse_mV"].mean() == pytest.approx(evaluation.metrics[f"{name}/rmse_mV_mean"], rel=1e-5)
    assert f"report       {evaluation.folder}/report.html" in evaluation.out
    assert re.search(rf"^ +emulator +{evaluation.metrics['emulator/rmse_mV_mean']:.2f} \(", evaluation.out, re.M)


def test_the_same_is_recorded_in_mlflow(evaluation):
    run = run_of(evaluation.folder, evaluation.cwd)
    assert run.info.status == "FINISHED"
    assert own_metrics(run) == pytest.approx(shown(evaluation.metrics))
    assert run.info.run_name == f"evaluate {Path(run.data.params['checkpoint']).parent.name}"
    assert "| emulator | " in run.data.tags["mlflow.note.content"]
    assert [item.dataset.name for item in run.inputs.dataset_inputs] == ["traces"]
    found = client(evaluation.cwd)
    names = {item.path for item in found.list_artifacts(run.info.run_id)}
    assert {"cells.csv", "config.yaml", "figures", "metrics.json", "report.html"} <= names
    drawn = {item.path for item in found.list_artifacts(run.info.run_id, "figures")}
    assert drawn == {f"figures/{path.name}" for path in (evaluation.folder / "figures").iterdir()}
    assert len(drawn) == 8


@pytest.mark.long
def test_a_trace_store_gives_the_same_as_its_design(evaluation, job, tmp_path):
    (store,) = (job.cwd / "data" / "traces").glob("*-*")
    evaluate(job, tmp_path, f"traces={store}", "design.n=1")
    (folder,) = tmp_path.glob("evaluations/*/*")
    assert metrics_of(folder) == evaluation.metrics


@pytest.mark.long
def test_a_model_of_mlflow_gives_the_same_as_its_checkpoint(evaluation, job, tmp_path):
    run_id = (job.folder / "mlflow_run_id").read_text()
    uri, where = f"runs:/{run_id}/emulator", {"MLFLOW_TRACKING_URI": f"sqlite:///{job.cwd}/mlflow.db"}
    own = (f"checkpoint={uri}", "design=sobol", "design.n=24", f"data_dir={job.cwd / 'data'}")
    run_inside(*own, cwd=tmp_path, script="evaluate.py", env=where)
    (folder,) = tmp_path.glob("evaluations/*/*")
    assert metrics_of(folder) == evaluation.metrics


def changed(job, path, **facts):
    """The tiny job's checkpoint with other facts."""
    content = torch.load(job.folder / "best.ckpt", weights_only=True)
    content["emulator"] |= facts
    torch.save(content, path)
    return path


@pytest.mark.long
def test_emulators_side_by_side(job, tmp_path):
    # The same network, smoothed; and one whose specification has windows that begin 50 ms later.
    other = changed(job, tmp_path / "other.ckpt", sigma_points=3.0)
    window = load_emulator(other).specification.window | {"offset_ms": 0.0}
    third = changed(job, tmp_path / "third.ckpt", window=window)
    evaluate(job, tmp_path, f"compare={{smooth: {other}, later: {third}}}")
    (folder,) = tmp_path.glob("evaluations/*/*")
    metrics = metrics_of(folder)
    names = ["emulator", "smooth", "later"]
    assert {name.split("/")[0] for name in metrics} == {*names, *NAMES[1:]}
    first, second, third = (metrics[f"{name}/rmse_mV_mean"] for name in names)
    assert len({first, second, third}) == 3
    assert first == pytest.approx(metrics_of(job.folder)["test/rmse_mV_mean"], rel=1e-6)
    warning = "The emulators have different windows, so their errors are over different samples."
    assert warning in (folder / "report.html").read_text()
    assert len({metrics[f"{name}/cells"] for name in names}) == 1
    assert sorted(p.name for p in (folder / "figures").glob("examples-*")) == sorted(f"examples-{n}.png" for n in names)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu(evaluation, job, tmp_path):
    evaluate(job, tmp_path, "accelerator=gpu")
    (folder,) = tmp_path.glob("evaluations/*/*")
    found = metrics_of(folder)
    assert found["emulator/rmse_mV_mean"] == pytest.approx(evaluation.metrics["emulator/rmse_mV_mean"], abs=1e-3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_missing_gpu_is_an_error(job, tmp_path):
    assert refusal(job, tmp_path, "accelerator=gpu").startswith("accelerator: got 'gpu'; no CUDA device is visible")


def test_distinguishing_names():
    assert distinguishing_names(["runs/a/1/best.ckpt", "runs/a/2/best.ckpt"]) == ["1", "2"]
    assert distinguishing_names(["a/best.ckpt", "a/last.ckpt"]) == ["best.ckpt", "last.ckpt"]
    assert distinguishing_names(["models:/x@champion", "runs/1/best.ckpt"]) == ["models_x_champion", "runs_1_best.ckpt"]
    assert distinguishing_names(["a/b.ckpt", "a/c/b.ckpt"]) == ["a_b.ckpt", "a_c_b.ckpt"]
    assert distinguishing_names(["./a/best.ckpt", "../b/best.ckpt"]) == ["_a", "_b"]


@pytest.mark.parametrize(("argument", "message"), MISTAKES, ids=[argument for argument, _ in MISTAKES])
def test_mistakes_are_reported(job, tmp_path, argument, message):
    argument = argument.format(job=job.cwd, best=job.folder / "best.ckpt")
    assert re.match(message, refusal(job, tmp_path, argument))
    assert {path.name for path in tmp_path.iterdir()} <= {"mlflow.db", "mlflow.db.lock"}


def refusal(job, cwd, argument):
    """The sentence with which the job ends."""
    return error_message(evaluate(job, cwd, argument, check=False))


@pytest.mark.parametrize(
    ("setting", "theirs", "ours"),
    [
        ("variant=corrected", " of akwaboah2021 (variant corrected)", "on akwaboah2021 (variant program)"),
        ("transient_ms=500", ", which begins after 0.5 s", "on traces that begin after 0 s (simulator.transient_ms)"),
        ("scaled={ICaL: scales.ICaL}", " with the scaled conductances ICaL", "with ICaL, IK1, IKr, IKur, INa"),
    ],
)
def test_traces_of_another_kind_are_an_error(job, tmp_path, setting, theirs, ours):
    like_the_job = ("design=sobol", "design.n=4", "simulator.duration_ms=2500")
    run_inside(f"simulator.{setting}", *like_the_job, cwd=tmp_path, script="simulate.py")
    (store,) = tmp_path.glob("data/traces/*")
    remedy = "give other traces, or set traces=null to simulate them"
    sentence = f"traces: got {store}{theirs}, but the emulator was trained {ours}; {remedy}"
    assert refusal(job, tmp_path, f"traces={store}") == sentence


OTHER_CELL = {"cell_sha256": "1" * 64}


@pytest.mark.parametrize(
    ("setting", "facts", "simulator", "message"),
    [
        ("compare=[{}]", OTHER_CELL, {}, r"compare: got emulators of akwaboah2021 \(variant program\) and of "
         r"akwaboah2021 \(variant program\) with other parameters, pacing or scaled constants; give emulators of the "
         r"same cell$"),
        ("compare=[{}]", OTHER_CELL, {"variant": "corrected"}, r"compare: got emulators of akwaboah2021 \(variant "
         r"program\) and of akwaboah2021 \(variant corrected\); give"),
        ("compare=[{}]", {}, {"transient_ms": 45000.0}, r"compare: got emulators trained on traces after 0 s and after "
         r"45 s; give emulators with the same simulator.transient_ms$"),
        ("checkpoint={}", {"version": 1}, {}, "checkpoint: {} has version 1, but this program reads version 3; train "
         "again, or use the program that"),
        ("checkpoint={}", {}, {"model": "/nowhere/my.mmt"}, r"simulator.model: got '/nowhere/my.mmt'; allowed is a "
         r"bundled model \(akwaboah2021\) or the path of a .mmt or CellML file$"),
        ("checkpoint={}", OTHER_CELL, {}, "checkpoint: the cell model akwaboah2021 has changed since this emulator was "
         "trained; restore the file"),
    ],
)  # fmt: skip
def test_unusable_checkpoints_are_an_error(job, tmp_path, setting, facts, simulator, message):
    arguments = load_emulator(job.folder / "best.ckpt").specification.simulator_arguments | simulator
    path = changed(job, tmp_path / "changed.ckpt", simulator_arguments=arguments, **facts)
    assert re.match(message.format(path), refusal(job, tmp_path, setting.format(path)))


def test_the_report_has_the_values_of_metrics_json(evaluation):
    page = (evaluation.folder / "report.html").read_text()
    for name in NAMES:
        mean, low, high = (evaluation.metrics[f"{name}/rmse_mV_mean{key}"] for key in ("", "_low", "_high"))
        assert f"<td>{mean:.2f} ({low:.2f} to {high:.2f})</td>" in page
