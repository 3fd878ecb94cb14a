"""The runs of a sweep or a search, as a table."""

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run

from cardioemu.tracking.params import parse_run_name
from cardioemu.tracking.recorder import PARENT
from cardioemu.tracking.views import METRICS


def tabulate_child_runs(client: MlflowClient, experiment_id: str, parent_id: str) -> pd.DataFrame:
    """List the runs of a sweep in the order in which they started; of runs with the same name only the last.

    Returns:
        One row per `name`: the settings in the names, as columns named by their addresses; `status`; the `METRICS` that
        were recorded; `minutes`; `failure`, the reason of a failed run; `run_id`.
    """
    runs = client.search_runs([experiment_id], f"tags.`{PARENT}` = '{parent_id}'", order_by=["start_time"])
    last = {run.info.run_name or "": run for run in runs}
    settings = [parse_run_name(name) for name in last]
    addresses = list(dict.fromkeys(address for named in settings for address in named))
    # A setting that a name lacks may be a param, which not every run has.
    swept = pd.DataFrame(
        [
            {address: named.get(address, run.data.params.get(address, "")) for address in addresses}
            for named, run in zip(settings, last.values(), strict=True)
        ]
    )
    results = pd.DataFrame([_results(run) for run in last.values()])
    return pd.concat([pd.Series(list(last), name="name"), swept, results], axis=1)


def _results(run: Run) -> dict[str, object]:
    start_ms, end_ms = run.info.start_time, run.info.end_time
    return {
        "status": run.info.status,
        **{name: run.data.metrics[name] for name in METRICS if name in run.data.metrics},
        "minutes": round((end_ms - start_ms) / 60_000, 2) if end_ms else None,
        "failure": run.data.tags.get("failure", ""),
        "run_id": run.info.run_id,
    }
