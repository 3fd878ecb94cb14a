"""The runs of a sweep or a search, as a table."""

import pandas as pd
from mlflow import MlflowClient

from cardioemu.tracking.params import parse_run_name
from cardioemu.tracking.run import PARENT
from cardioemu.tracking.ui import METRICS


def tabulate_child_runs(client: MlflowClient, experiment_id: str, parent_id: str) -> pd.DataFrame:
    """List the runs of a sweep in the order in which they started; of runs with the same name only the last.

    The columns are `name`, the settings in the names, `status`, the `METRICS` that were recorded, `minutes`, `failure`
    (the reason of a failed run) and `run_id`.
    """
    runs = client.search_runs([experiment_id], f"tags.`{PARENT}` = '{parent_id}'", order_by=["start_time"])
    last = {run.info.run_name or "": run for run in runs}
    settings = {name: parse_run_name(name) for name in last}
    addresses = list(dict.fromkeys(address for named in settings.values() for address in named))
    rows = []
    for name, run in last.items():
        start_ms, end_ms = run.info.start_time, run.info.end_time
        row = {
            "name": name,
            # A setting that a name lacks may be a param, which not every run has.
            **{address: settings[name].get(address, run.data.params.get(address, "")) for address in addresses},
            "status": run.info.status,
            **{metric: run.data.metrics[metric] for metric in METRICS if metric in run.data.metrics},
            "minutes": round((end_ms - start_ms) / 60_000, 2) if end_ms else None,
            "failure": run.data.tags.get("failure", ""),
            "run_id": run.info.run_id,
        }
        rows.append(row)
    return pd.DataFrame(rows)
