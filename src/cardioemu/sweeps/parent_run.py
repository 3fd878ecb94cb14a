"""The parent run of a sweep or a search, and at its end the table and the figure of its runs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from cardioemu.common.errors import UserError
from cardioemu.common.metric_names import TEST_METRIC
from cardioemu.config.overrides import fixed_addresses, quote_value, sweep_overrides
from cardioemu.evaluation import plot_sweep
from cardioemu.runtime.files import atomic_write, content_key
from cardioemu.runtime.locks import folder_lock
from cardioemu.runtime.progress import log_message
from cardioemu.tracking import SWEEPS, Run, Tracking, format_table, parent_reference

TABLE, FIGURE = "runs.csv", "errors.png"
BEST_COUNT = 2  # runs in the description of a sweep: MLflow shows 100 pixels of it


@contextmanager
def sweep_run(tracking: Tracking, runs_dir: Path, overrides: Sequence[str]) -> Iterator[list[str]]:
    """Open the parent run of a sweep, the same when its command is repeated; print the table of its runs at the end.

    Yields:
        Overrides for each job, which set its parent run and name it by the swept settings.
    """
    tracking.check()
    swept = [*sweep_overrides(overrides)]
    folder, title = sweep_folder(runs_dir, tracking, sorted(overrides)), " ".join(swept)
    with folder_lock(folder, "swept", "runs_dir"), tracking.run(f"sweep {title}", {"sweep": title}, folder) as parent:
        parent.view([override.partition("=")[0] for override in swept])
        not_in_name = ",".join([*fixed_addresses(overrides), "tracking.run_name", "tracking.parent_run_id"])
        try:
            yield [
                f"tracking.parent_run_id={quote_value(parent_reference(parent))}",
                "tracking.run_name=${hydra:job.override_dirname}",
                f"hydra.job.config.override_dirname.exclude_keys=[{not_in_name}]",
            ]
        finally:
            if (table := summarise_sweep(tracking, parent)) is not None:
                print(format_runs(table, folder))


def summarise_sweep(tracking: Tracking, parent: Run) -> pd.DataFrame | None:
    """Write the table of a sweep's runs and a figure of their errors to its folder, and record them in its own run.

    Returns:
        The table of `Tracking.child_runs`; None while MLflow does not have the runs: `cardioemu sync` makes it later.
    """
    try:
        table = tracking.child_runs(parent)
    except UserError as error:
        log_message(f"{error}; cardioemu sync will make the table of the sweep")
        return None
    if table is None or table.empty:
        return None
    folder, pages = parent.folder, {"all runs": ""}
    with atomic_write(folder / TABLE) as file:
        table.to_csv(file, index=False)
    parent.file(folder / TABLE)
    parent.metrics({"runs": float(len(table)), "runs.finished": float((table["status"] == "FINISHED").sum())})
    settings, text = list(table.columns[1 : list(table.columns).index("status")]), ""
    if TEST_METRIC in table and settings and table[TEST_METRIC].notna().any():
        figure = plot_sweep(table, settings, TEST_METRIC)
        figure.savefig(folder / FIGURE)
        parent.file(folder / FIGURE)
        best = table.nsmallest(BEST_COUNT, TEST_METRIC).dropna(axis="columns")
        errors = [name for name in map(str, best) if name.startswith("test/rmse_mV_")]
        titles = [f"RMSE {name.removeprefix('test/rmse_mV_')} (mV)" for name in errors]
        text = format_table([*settings, *titles], best[[*settings, *errors]].itertuples(index=False))
        pages |= {"figure of the errors": f"artifacts/{FIGURE}"}
    parent.describe(text, pages)
    return table


def sweep_folder(runs_dir: Path, tracking: Tracking, facts: Sequence[str]) -> Path:
    """Return the folder of a sweep or search, the same for the same facts."""
    return runs_dir / SWEEPS / content_key("sweep", store=tracking.store, what=list(facts))


def format_runs(table: pd.DataFrame, folder: Path) -> str:
    """Return the table for the terminal, the reasons of failed runs, and the path of the table."""
    shown = table.drop(columns=["name", "failure", "run_id"])
    text = shown.to_string(index=False, na_rep="", float_format=lambda value: f"{value:.3f}")
    failed = [f"{name} failed: {why}" for name, why in zip(table["name"], table["failure"], strict=True) if why]
    return "\n".join(["", text, *failed, "", f"table        {folder / TABLE}"])
