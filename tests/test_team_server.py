"""Runs on a team's server: a real MLflow server on PostgreSQL, that comes and goes."""

import json
import re
import signal
import subprocess
from base64 import b64encode

import pandas as pd
import platformdirs
import pytest
from mlflow import MlflowClient
from mlflow_server import Server, postgresql
from small_campaign import wait_for
from tiny_job import TINY, children_of, command, environment, error_message, own_metrics, run_cli, shown

from cardioemu import load_emulator

pytestmark = pytest.mark.xdist_group("team_server")  # one server for all
USER = {
    "MLFLOW_TRACKING_USERNAME": "electrophysiologist",
    "MLFLOW_TRACKING_PASSWORD": "correct horse battery staple",
}
# A run that tries again every 2 s in place of 30.
IMPATIENT = "import runpy, sys; import cardioemu.tracking.outbox as box; box.RETRY_S = 2.0; sys.argv.pop(0); "
IMPATIENT += "runpy.run_path(sys.argv[0], run_name='__main__')"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that runs whenever a test begins."""
    folder = tmp_path_factory.mktemp("server")
    with postgresql(folder) as store:
        server = Server(store, folder)
        server.start()
        yield server
        server.kill()


def on_it(server, job, folder):
    """Overrides of a run on it, in a folder of its own."""
    if server.process.poll() is not None:
        server.start()
    name = re.sub(r"\W", "", folder.name)
    own = ("tracking=server", f"tracking.uri={server.uri}", f"tracking.experiment={name}")
    return (*TINY, f"data_dir={job.cwd / 'data'}", *own)


@pytest.fixture
def team(server, job, tmp_path):
    return on_it(server, job, tmp_path)


def runs_of(server, team):
    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name(team[-1].partition("=")[2])
    return client, client.search_runs([experiment.experiment_id], order_by=["start_time"])


def epochs_of(client, run):
    return [metric.step for metric in client.get_metric_history(run.info.run_id, "val/rmse_mV")]


def files_of(client, run):
    return {file.path for file in client.list_artifacts(run.info.run_id)}


@pytest.fixture(scope="module")
def recorded(server, job, tmp_path_factory):
    """A run and a sweep on it, of a user with a password: their overrides and folder; what they print is in there."""
    folder = tmp_path_factory.mktemp("recorded")
    team, env = on_it(server, job, folder), environment() | USER
    run = run_cli(*team, "trainer.max_epochs=3", "tracking.register=tiny", cwd=folder, env=env)
    sweep = run_cli("-m", *team, "trainer.max_epochs=2,4", cwd=folder, env=env)
    (folder / "printed").write_text(run.stdout + run.stderr + sweep.stdout + sweep.stderr)
    return team, folder


def test_a_run_and_a_sweep(server, recorded, tmp_path, monkeypatch):
    team, folder = recorded
    client, (run, parent, *children) = runs_of(server, team)
    assert [r.info.status for r in (run, parent, *children)] == ["FINISHED"] * 4
    assert [epochs_of(client, r) for r in (run, *children)] == [[0, 1, 2], [0, 1], [0, 1, 2, 3]]
    assert {"config.yaml", "metrics.json", "test_cells.csv", "figures", "images"} <= files_of(client, run)
    assert {"runs.csv", "errors.png"} <= files_of(client, parent)
    assert not (folder / "mlflow.db").exists()
    # The model comes through the server, too.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    (best,) = folder.glob("runs/*-*/*/best.ckpt")
    control = [[1.0] * 5]
    expected = load_emulator(best).predict(control).voltage_mV
    for uri in (f"runs:/{run.info.run_id}/emulator", "models:/tiny@champion"):
        assert (load_emulator(uri).predict(control).voltage_mV == expected).all()


def test_a_password_stands_nowhere(server, recorded):
    """Neither in what runs print and write, nor in the database, the artifacts and the log of the server."""
    team, folder = recorded
    run = runs_of(server, team)[1][0].info.run_id
    assert holding(run, server.folder / "postgresql")
    assert holding(run, folder)
    user, password = USER.values()
    for secret in (password, b64encode(f"{user}:{password}".encode()).decode()):
        assert holding(secret, server.folder, folder) == ""


def holding(text, *folders):
    """The files that hold a text."""
    return subprocess.run(["grep", "-rlsF", "--", text, *folders], capture_output=True, text=True).stdout


def test_a_server_that_is_killed_while_a_run_trains(server, team, begin, tmp_path):
    process = begin(command(*team, "trainer.max_epochs=400", "evaluation.every_epochs=50"), tmp_path)
    wait_for(lambda: [*tmp_path.glob("runs/*/*/last.ckpt")])
    server.kill()
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "tracking: MLflow cannot record the run (" in err
    (folder,) = tmp_path.glob("runs/*/*")
    waiting = int(re.search(r"tracking: (\d+) records pending in ", err)[1])
    assert waiting > 100
    assert "window RMSE (mV)" in out

    # Nothing is lost while it is down, and all is there once it is back.
    failed = run_cli("tracking.uri=" + server.uri, cwd=tmp_path, check=False, script="sync.py")
    assert failed.returncode == 2
    assert "does not answer" in failed.stderr
    server.start()
    sent = run_cli("tracking.uri=" + server.uri, team[-1], cwd=tmp_path, script="sync.py")
    assert sent.stdout.splitlines()[-1] == f"sent {waiting} records of 1 run"
    client, (run,) = runs_of(server, team)
    assert run.info.status == "FINISHED"
    assert epochs_of(client, run) == [*range(400)]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert own_metrics(run) == pytest.approx(shown(metrics))
    pictures = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
    assert len([path for path in pictures if path.endswith(".png")]) == 9  # epoch 1, and each 50th
    assert {"config.yaml", "metrics.json", "test_cells.csv", "figures"} <= files_of(client, run)
    assert len(run.outputs.model_outputs) == 1
    assert {d.dataset.name for d in run.inputs.dataset_inputs} == {"traces", "windows"}
    assert not (folder / "unsent").exists()


def test_a_server_that_is_killed_while_a_sweep_runs(server, team, begin, tmp_path):
    process = begin(command("-m", *team, "trainer.max_epochs=2,3,4"), tmp_path)
    wait_for(lambda: [*tmp_path.glob("runs/*/*/0/metrics.json")])
    server.kill()
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert len([*tmp_path.glob("runs/*/*/*/metrics.json")]) == 3
    server.start()
    run_cli("tracking.uri=" + server.uri, team[-1], cwd=tmp_path, script="sync.py")
    client, runs = runs_of(server, team)
    assert [run.info.status for run in runs] == ["FINISHED"] * 4
    (parent,) = (run for run in runs if run.info.run_name.startswith("sweep"))
    assert sorted(len(epochs_of(client, run)) for run in children_of(parent, runs)) == [2, 3, 4]
    table = pd.read_csv(client.download_artifacts(parent.info.run_id, "runs.csv", str(tmp_path)))
    assert sorted(table["trainer.max_epochs"]) == [2, 3, 4]
    assert not [*tmp_path.rglob("unsent")]


def test_a_server_that_comes_back_while_a_run_trains(server, team, begin, tmp_path):
    python, *program = command(*team, "trainer.max_epochs=50000")
    process = begin([python, "-c", IMPATIENT, *program], tmp_path)
    wait_for(lambda: [*tmp_path.glob("runs/*/*/last.ckpt")])
    server.kill()
    wait_for(lambda: [*tmp_path.glob("runs/*/*/unsent/calls.jsonl")])
    server.start()
    wait_for(lambda: not [*tmp_path.glob("runs/*/*/unsent/calls.jsonl")])
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=300)
    assert process.returncode == 130
    client, (run,) = runs_of(server, team)
    assert run.info.status == "KILLED"
    epochs = epochs_of(client, run)
    assert epochs == [*range(len(epochs))]


def test_a_server_that_is_down_at_the_start(server, team, tmp_path):
    server.kill()
    result = run_cli(*team, "trainer.max_epochs=2", cwd=tmp_path, check=False)
    reason, remedy = error_message(result).split("; ")
    assert re.fullmatch(rf"tracking.uri: the MLflow server at {server.uri} does not answer \(.*\)", reason)
    assert remedy == "start it, or set tracking.offline=true and send the run later"
    assert list(tmp_path.iterdir()) == []

    # Without it, a run and a sweep are kept, and sent later: parents first.
    offline = (*team, "tracking.offline=true")
    run_cli(*offline, "trainer.max_epochs=2", cwd=tmp_path)
    run_cli("-m", *offline, "trainer.max_epochs=2,3", cwd=tmp_path)
    server.start()
    sent = run_cli("tracking.uri=" + server.uri, team[-1], cwd=tmp_path, script="sync.py")
    assert re.search(r"sent \d+ records of 4 runs", sent.stdout)
    client, runs = runs_of(server, team)
    assert [r.info.status for r in runs] == ["FINISHED"] * 4
    (parent,) = (r for r in runs if r.info.run_name.startswith("sweep"))
    assert sorted(len(epochs_of(client, r)) for r in children_of(parent, runs)) == [2, 3]
    assert not [*tmp_path.rglob("unsent")]
    assert {"runs.csv", "errors.png"} <= files_of(client, parent)
