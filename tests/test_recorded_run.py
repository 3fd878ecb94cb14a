"""A run and the calls it makes, with an MLflow that takes them, does not, or does again; from two threads."""

import socket
import threading
from base64 import b64decode
from dataclasses import replace
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure
from mlflow.exceptions import MlflowException

from cardioemu import UserError
from cardioemu.runtime.locks import folder_lock
from cardioemu.tracking import Server, Sqlite
from cardioemu.tracking.child_runs import tabulate_child_runs
from cardioemu.tracking.outbox import Outbox
from cardioemu.tracking.run import Run
from cardioemu.tracking.tracking import close_stale_runs


class Recorded(Run):
    """A run that an MLflow takes while it is up, which notes the calls; of pictures also that they are there."""

    id = "r"

    def __init__(self, mlflow, folder, deferred=False):
        super().__init__(lambda: (None, ""), folder, deferred)
        self.mlflow = mlflow

    def _perform(self, call, arguments):
        if not self.mlflow.up:
            raise MlflowException("connection refused\nand more")
        if call == "image":
            assert b64decode(arguments["png"]).startswith(b"\x89PNG")
        self.mlflow.calls.append((call, arguments.get("step")))


@pytest.fixture
def recorded():
    return SimpleNamespace(up=True, calls=[])


def test_what_fails_waits_and_all_behind_it(recorded, tmp_path, capsys, monkeypatch):
    run = Recorded(recorded, tmp_path)
    run.begin({})
    recorded.up = False
    for step in range(3):
        run.metrics({"a": 1.0}, step)
    recorded.up = True
    run.image(Figure(), "predictions", 3)  # too early for another try
    assert recorded.calls == [("begin", None)]
    assert len(run.outbox) == 4
    kept = f"its records are kept in {tmp_path / 'unsent'} and sent later\n"
    assert capsys.readouterr().err == f"tracking: MLflow cannot record the run (connection refused); {kept}"
    clock = iter([1e9])
    monkeypatch.setattr("cardioemu.tracking.outbox.time.monotonic", lambda: next(clock))
    run.metrics({"a": 1.0}, 4)
    assert recorded.calls[1:] == [("metrics", 0), ("metrics", 1), ("metrics", 2), ("image", 3), ("metrics", 4)]
    assert not (tmp_path / "unsent").exists()


def test_what_still_waits_at_the_end_is_told(recorded, tmp_path, capsys):
    run = Recorded(recorded, tmp_path)
    run.begin({})
    recorded.up = False
    run.metrics({"a": 1.0})
    run.end("FINISHED")
    assert "tracking: 2 records pending in " in capsys.readouterr().err
    recorded.up = True
    Recorded(recorded, tmp_path).sync()
    assert [call for call, _ in recorded.calls] == ["begin", "metrics", "end"]


def test_a_run_that_cannot_begin(recorded, tmp_path):
    recorded.up = False
    with pytest.raises(UserError, match=r"^tracking: the run cannot be recorded \(connection refused\)$"):
        Recorded(recorded, tmp_path).begin({})


def test_a_run_of_a_sweep_begins_without_mlflow_and_is_sent_when_it_is_back(recorded, tmp_path, capsys):
    recorded.up = False
    run = Recorded(recorded, tmp_path)
    run.begin({}, required=False)
    run.metrics({"a": 1.0}, 0)
    assert capsys.readouterr().err.count("tracking: MLflow cannot record the run (connection refused)") == 1
    recorded.up, run.outbox.next_attempt = True, 0.0
    run.metrics({"a": 1.0}, 1)
    assert recorded.calls == [("begin", None), ("metrics", 0), ("metrics", 1)]


def test_an_offline_run_is_sent_at_its_end(recorded, tmp_path):
    run = Recorded(recorded, tmp_path, deferred=True)
    run.begin({}, required=False)
    run.metrics({"a": 1.0})
    assert recorded.calls == []
    run.end("FINISHED")
    assert [call for call, _ in recorded.calls] == ["begin", "metrics", "end"]


def test_two_threads(recorded, tmp_path):
    run = Recorded(recorded, tmp_path)
    run.begin({})
    ended = threading.Event()

    def measure():
        while not ended.is_set():
            run.metrics({"system/a": 1.0}, -1)

    thread = threading.Thread(target=measure)
    thread.start()
    try:
        for step in range(30):
            run.image(Figure(figsize=(1, 1)), "predictions", step)
            recorded.up = step % 7 != 3
            run.outbox.next_attempt = 0.0
        recorded.up = True
    finally:
        ended.set()
        thread.join()
    run.end("FINISHED")
    assert [step for call, step in recorded.calls if call == "image"] == [*range(30)]
    assert not (tmp_path / "unsent").exists()


def test_what_a_live_run_keeps_is_not_sent_beside_it(tmp_path):
    runs = Sqlite(database=tmp_path / "mlflow.db", artifacts=tmp_path / "artifacts", experiment="e")
    Outbox(tmp_path / "run").append("begin", {"tags": {}, "time_ms": 0})
    with folder_lock(tmp_path / "run", "trained", "runs_dir"):
        with pytest.raises(UserError, match=r"^runs_dir: \S+/run is in use by process \d+ on "):
            runs.sync(tmp_path / "run")
        assert len(Outbox(tmp_path / "run")) == 1
    assert runs.sync(tmp_path / "run")[0] == 1
    assert len(Outbox(tmp_path / "run")) == 0


def test_where_a_run_is_once_the_server_has_gone(tmp_path):
    server = Server(uri="http://127.0.0.1:9", experiment="e")
    (tmp_path / "mlflow_run_id").write_text("r")
    assert server.ui_location(server.resume_run(tmp_path)) == "http://127.0.0.1:9"


def test_a_finished_job_that_a_sweep_takes_over_has_its_name_there(tmp_path):
    one = Sqlite(experiment="e", database=tmp_path / "mlflow.db", artifacts=tmp_path)
    sweeps = [replace(one, parent_run_id=parent, run_name=name) for parent, name in (("a", "x=1"), ("b", "x=1,y=2"))]
    for name, job in (("x=1,y=2", "first"), ("x=1", "second")):
        with replace(sweeps[0], run_name=name).run("n", {"x": 1}, tmp_path / job, job=job):
            pass
    for sweep, job in ((sweeps[1], "second"), (replace(sweeps[1], run_name="x=1,y=3"), "first")):
        assert sweep.find_finished(job)
    client, experiment = one.connect()
    assert tabulate_child_runs(client, experiment, "b")["name"].tolist() == ["x=1,y=3", "x=1,y=2"]
    assert tabulate_child_runs(client, experiment, "b")["y"].tolist() == ["3", "2"]


def test_a_run_of_a_process_that_is_gone_ends_at_its_last_metric(tmp_path):
    client, experiment = Sqlite(experiment="e", database=tmp_path / "mlflow.db", artifacts=tmp_path).connect()
    tags = {"process.host": socket.gethostname(), "process": f"{socket.gethostname()} 1 -9"}
    run_ids = [client.create_run(experiment, start_time=1000, tags=tags).info.run_id for _ in range(2)]
    for key, time_ms, step in (("a", 2000, 0), ("a", 4000, 1), ("b", 3000, 0)):
        client.log_metric(run_ids[0], key, 1.0, time_ms, step)
    close_stale_runs(client, experiment)
    ended = [client.get_run(run_id).info for run_id in run_ids]
    assert [(run.status, run.end_time) for run in ended] == [("KILLED", 4000), ("KILLED", 1000)]


def test_more_params_tags_and_metrics_than_mlflow_takes_at_once(tmp_path):
    tracking = Sqlite(experiment="many", database=tmp_path / "mlflow.db", artifacts=tmp_path)
    numbers = {f"name.{i}": float(i) for i in range(1500)}
    texts = {name: str(number) for name, number in numbers.items()}
    with tracking.run("many", {}, tmp_path) as run:
        run.params(numbers)
        run.metrics(numbers)
        run.tags(texts)
    data = tracking.connect()[0].get_run((tmp_path / "mlflow_run_id").read_text()).data
    assert data.params == texts
    assert data.metrics.items() >= numbers.items()
    assert data.tags.items() >= texts.items()
