"""Views of the table of runs in MLflow's user interface: without one the table shows neither metrics nor params.

A view is a tag of the experiment. The address of the page names it; one that has a name is also in the menu "Views".
"""

import json
import time
from collections.abc import Iterable

from mlflow import MlflowClient
from mlflow.entities import Experiment

from cardioemu.common.metric_names import TEST_METRIC, VALIDATION_METRIC

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
    """Save the view of all runs and, of a sweep, the view of its runs.

    Args:
        client: of the database or server.
        experiment: of the runs.
        settings: varied by the sweep; the view of all runs shows them before those that it has.
        parent_id: of the sweep, and the key of the view of its runs.
    """
    shown = _shown_settings(experiment)
    wanted = list(dict.fromkeys([*settings, *(["model"] if shown is None else shown)]))
    if wanted != shown:
        view = {"name": NAME, "createdAt": time.time_ns() // 1_000_000, "state": json.dumps(_state(wanted))}
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
