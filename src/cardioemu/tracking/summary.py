"""The few values of a test that MLflow shows; the artifact metrics.json has all values."""

from collections.abc import Iterable, Mapping, Sequence

RMSE = "rmse_mV_mean"
TITLES = {
    RMSE: "RMSE mean (mV)",
    "rmse_mV_median": "median",
    "rmse_mV_p95": "p95",
    "rmse_mV_max": "max",
    "apd90_mape_percent": "APD90 error (%)",
    "cl_mape_percent": "cycle length error (%)",
    "fires_accuracy": "firing accuracy",
}
SUMMARY = (*TITLES, "apd50_mape_percent", "apd75_mape_percent", "rmse_mV_best")


def summarise(values: Mapping[str, float]) -> dict[str, float]:
    """Return the values by which runs are compared: "test/rmse_mV_mean", not "test/mae_mV"."""
    return {key: value for key, value in values.items() if key.rpartition("/")[2] in SUMMARY}


def format_summary(values: Mapping[str, float]) -> str:
    """Return a table in Markdown, with a row for each group, as "test" in "test/rmse_mV_mean"."""
    groups = [key.rpartition("/")[0] for key in values if key.endswith(f"/{RMSE}")]
    names = [name for name in TITLES if any(f"{group}/{name}" in values for group in groups)]
    rows = [[group, *(values.get(f"{group}/{name}", "") for name in names)] for group in groups]
    return format_table(["", *(TITLES[name] for name in names)], rows)


def format_table(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table in Markdown, with three digits of each number."""
    texts = [[f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *texts])
