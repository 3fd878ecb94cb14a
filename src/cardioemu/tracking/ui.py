"""MLflow's user interface: views of its table of runs, which shows no metrics and params by itself, and its server.

A view is a tag of the experiment. The address of the page names it; one that has a name is also in the menu "Views".
"""

import json
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.utils.time import get_current_time_millis

from cardioemu.common.errors import UserError
from cardioemu.common.metric_names import TEST_METRIC, VALIDATION_METRIC
from cardioemu.tracking.failures import FAILURES

HOST = "127.0.0.1"
SQLITE = b"SQLite format 3\0"  # the first bytes of its files
METRICS = (f"{VALIDATION_METRIC}_best", TEST_METRIC, "test/rmse_mV_median", "test/rmse_mV_p95", "test/rmse_mV_max")
RUNS, NAME = "runs", "settings and errors"  # key and name of the view of all runs
RUN_NAME = "attributes.`Run Name`"
TAG = "mlflow.sharedViewState."  # and the key of a view


def page(experiment_id: str, key: str = RUNS) -> str:
    """Return the address of a view, relative to the address of the user interface."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={key}&workflowType=machine_learning"


def save_views(
    client: MlflowClient, experiment: Experiment, settings: Iterable[str] = (), parent_id: str | None = None
) -> None:
    """Save the view of all runs, with the settings that a sweep varies first, and under its id the view of its runs."""
    shown = _shown_settings(experiment)
    wanted = list(dict.fromkeys([*settings, *(["model"] if shown is None else shown)]))
    if wanted != shown:
        view = {"name": NAME, "createdAt": get_current_time_millis(), "state": json.dumps(_state(wanted))}
        client.set_experiment_tag(experiment.experiment_id, TAG + RUNS, json.dumps(view))
    if parent_id:
        # Sorted by a metric, the table does not fold the runs of a sweep into its row.
        order = {"orderByKey": f"metrics.`{TEST_METRIC}`", "orderByAsc": True}
        state = _state(settings) | order | {"searchFilter": f"tags.mlflow.parentRunId = '{parent_id}'"}
        client.set_experiment_tag(experiment.experiment_id, TAG + parent_id, json.dumps(state))


def _shown_settings(experiment: Experiment) -> list[str] | None:
    if TAG + RUNS not in experiment.tags:
        return None
    columns = json.loads(json.loads(experiment.tags[TAG + RUNS])["state"])["selectedColumns"]
    return [column[len("params.`") : -1] for column in columns if column.startswith("params.")]


def _state(settings: Iterable[str]) -> dict[str, object]:
    titles = {f"params.`{name}`": name for name in settings} | {f"metrics.`{name}`": name for name in METRICS}
    return {
        "selectedColumns": [*titles],
        "columnOrder": [RUN_NAME, "runDateAndNestInfo", *titles],
        "columnWidths": {RUN_NAME: 170} | {column: 28 + 7 * len(title) for column, title in titles.items()},  # pixels
    }


def serve_ui(database: Path, port: int) -> None:
    """Serve MLflow's user interface to this machine only, until Ctrl-C.

    Raises:
        UserError: the file does not exist or is not an SQLite database, or the port is in use.
    """
    if not database.is_file():
        raise UserError(
            f"database: got {database}, which does not exist; run cardioemu train first, change to the folder of the "
            "runs, or set database=FILE"
        )
    with database.open("rb") as file:
        if file.read(len(SQLITE)) not in (b"", SQLITE):
            raise UserError(
                f"database: got {database}, which is not an SQLite database; give the mlflow.db of your runs"
            )
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            raise UserError(f"port: got {port}, which is in use; set another, as in port={port + 1}")
    store = f"sqlite:///{database.resolve()}"
    print(f"runs: http://{HOST}:{port}/{_runs_page(store)}", flush=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store, "--host", HOST, "--port", str(port)]
    subprocess.run(command, check=False)


def _runs_page(store: str) -> str:
    """Return the table of runs of the experiment that was used last."""
    try:
        client = MlflowClient(store)
        (experiment,) = client.search_experiments(order_by=["last_update_time DESC"], max_results=1)
        save_views(client, experiment)
        return page(experiment.experiment_id)
    except (*FAILURES, ValueError):  # MLflow itself prints what is wrong with the database
        return ""
