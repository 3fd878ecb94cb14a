"""The runs below a sweep or a search, as a table."""

import re

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run

from cardioemu.common.metric_names import TEST_METRIC, VALIDATION_METRIC
from cardioemu.tracking.recorder import PARENT

COLUMNS = (f"{VALIDATION_METRIC}_best", TEST_METRIC, "test/rmse_mV_median", "test/rmse_mV_p95", "test/rmse_mV_max")


def tabulate_child_runs(client: MlflowClient, experiment_id: str, parent_id: str) -> pd.DataFrame:
    """Lists the runs below one, in the order they began; of several with one name the last.

    Returns:
        One row per `name`: the settings in the names, as columns named by their addresses; `status`; the `COLUMNS` that
        were recorded; `minutes`; `failure`, why it failed; `run_id`.
    """
    found = client.search_runs([experiment_id], f"tags.`{PARENT}` = '{parent_id}'", order_by=["start_time"])
    last = {run.info.run_name or "": run for run in found}
    named = [parse_run_name(name) for name in last]
    addresses = list(dict.fromkeys(address for settings in named for address in settings))
    # What a name does not tell stands among the params, where not every job has every setting.
    swept = pd.DataFrame(
        [
            {address: settings.get(address, run.data.params.get(address, "")) for address in addresses}
            for settings, run in zip(named, last.values(), strict=True)
        ]
    )
    rest = pd.DataFrame([_row(run) for run in last.values()])
    return pd.concat([pd.Series(list(last), name="name"), swept, rest], axis=1)


def parse_run_name(name: str) -> dict[str, str]:
    """Reads the settings that the name of a run in a sweep consists of.

    "model.hidden=32,betas=[0.9,0.99]" -> {"model.hidden": "32", "betas": "[0.9,0.99]"}
    """
    parts = re.split(r",(?![^\[({]*[\])}])", name)
    return dict(part.partition("=")[::2] for part in parts if "=" in part)


def _row(run: Run) -> dict[str, object]:
    began_ms, ended_ms = run.info.start_time, run.info.end_time
    return {
        "status": run.info.status,
        **{name: run.data.metrics[name] for name in COLUMNS if name in run.data.metrics},
        "minutes": round((ended_ms - began_ms) / 60_000, 2) if ended_ms else None,
        "failure": run.data.tags.get("failure", ""),
        "run_id": run.info.run_id,
    }
