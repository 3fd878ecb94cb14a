"""The run that the runs of a sweep or a search stand under, and at its end a table of them and a figure."""

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
from cardioemu.tracking import SWEEPS, Run, Tracking, parent_reference

TABLE, FIGURE = "runs.csv", "errors.png"


@contextmanager
def sweep_run(tracking: Tracking, runs_dir: Path, overrides: Sequence[str]) -> Iterator[list[str]]:
    """Opens the run of a sweep, the same when the sweep is repeated; prints the table of its runs at its end.

    Args:
        tracking: where it is recorded.
        runs_dir: the folder of the runs.
        overrides: of the command line.

    Yields:
        Overrides that put each job under it, named by what is swept.
    """
    tracking.check()
    what = [*sweep_overrides(overrides)]
    folder = sweep_folder(runs_dir, tracking, sorted(overrides))
    title = f"sweep {' '.join(what)}"
    with folder_lock(folder, "swept", "runs_dir"), tracking.run(title, {"sweep": " ".join(what)}, folder) as parent:
        unnamed = ",".join([*fixed_addresses(overrides), "tracking.run_name", "tracking.parent_run_id"])
        try:
            yield [
                f"tracking.parent_run_id={quote_value(parent_reference(parent))}",
                "tracking.run_name=${hydra:job.override_dirname}",
                f"hydra.job.config.override_dirname.exclude_keys=[{unnamed}]",
            ]
        finally:
            if (table := summarise_sweep(tracking, parent)) is not None:
                print(format_table(table, folder))


def summarise_sweep(tracking: Tracking, parent: Run) -> pd.DataFrame | None:
    """Makes a table of the runs below a parent and a figure of their errors, in its folder and in MLflow.

    Args:
        tracking: where they are recorded.
        parent: the run of the sweep.

    Returns:
        The table of `Tracking.children`; None while the runs cannot be seen: `sync.py` makes it then.
    """
    try:
        table = tracking.child_runs(parent)
    except UserError as error:
        log_message(f"{error}; python sync.py makes the table of the sweep then")
        return None
    if table is None or table.empty:
        return None
    folder = parent.recorder.folder
    with atomic_write(folder / TABLE) as file:
        table.to_csv(file, index=False)
    parent.file(folder / TABLE)
    parent.metrics({"runs": len(table), "runs.finished": int((table["status"] == "FINISHED").sum())})
    settings = list(table.columns[1 : list(table.columns).index("status")])
    if TEST_METRIC in table and settings and table[TEST_METRIC].notna().any():
        figure = plot_sweep(table, settings, TEST_METRIC)
        figure.savefig(folder / FIGURE)
        parent.file(folder / FIGURE)
    return table


def sweep_folder(runs_dir: Path, tracking: Tracking, what: Sequence[str]) -> Path:
    """Returns the folder of a sweep or search: the same when the same is asked for again."""
    return runs_dir / SWEEPS / content_key("sweep", store=tracking.store, what=list(what))


def format_table(table: pd.DataFrame, folder: Path) -> str:
    """Writes the table for a terminal, why runs failed, and where it lies."""
    shown = table.drop(columns=["name", "failure", "run_id"])
    text = shown.to_string(index=False, na_rep="", float_format=lambda value: f"{value:.3f}")
    failed = [f"{name} failed: {why}" for name, why in zip(table["name"], table["failure"], strict=True) if why]
    return "\n".join(["", text, *failed, "", f"table        {folder / TABLE}"])
