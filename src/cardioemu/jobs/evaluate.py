"""Measure emulators on cells they have never seen: `cardioemu evaluate checkpoint=RUN_FOLDER/best.ckpt`."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig

from cardioemu import load_emulator
from cardioemu.common.errors import UserError
from cardioemu.common.metric_names import METRICS_FILE
from cardioemu.comparison.baselines import BASELINES
from cardioemu.comparison.lineage import (
    cell_model_name,
    check_same_cell,
    check_trace_store,
    load_training_cell,
    training_windows,
    transient_s,
)
from cardioemu.comparison.measure import (
    Candidate,
    add_published_lstm,
    exclude_training_cells,
    indices_with_windows,
    make_baselines,
    measure,
    plot_examples,
)
from cardioemu.config.build import resolved_dict
from cardioemu.config.launch import launch
from cardioemu.config.run_config import CONFIG, save_run_config
from cardioemu.data import TRAIN, WindowDataModule
from cardioemu.emulator import Emulator
from cardioemu.evaluation import EvaluationResult, Section, error_table, render_html, report_sections
from cardioemu.runtime.files import atomic_write
from cardioemu.runtime.locks import folder_lock
from cardioemu.settings.evaluate import EvaluateSettings
from cardioemu.simulation import CampaignSpec, Cell, TraceStore, campaign
from cardioemu.tracking import Run, format_summary, provenance
from cardioemu.windowing import WindowRule, WindowSet, build_window_set

REPORT = "report.html"

Emulators = Mapping[str, Emulator]
Windows = Mapping[WindowRule, WindowSet]


def main() -> None:
    """Run the job as the command line asks."""
    launch("evaluate", evaluate, EvaluateSettings)


def evaluate(settings: EvaluateSettings, config: DictConfig, folder: Path) -> dict[str, float]:
    """Measure emulators and baselines on the same unseen cells; write config, tables, figures and a report.

    Returns:
        The metrics, by EMULATOR/METRIC.
    """
    emulators = load_emulators(settings)
    first = next(iter(emulators.values()))
    settings.tracking.check()
    cell = load_training_cell(first)
    store = open_traces(settings, cell, emulators)
    windows = {e.window: build_window_set(store, e.window, settings.data_dir / "windows") for e in emulators.values()}
    cells = exclude_training_cells(windows[first.window], emulators.values())
    rows = indices_with_windows(cells, windows.values())
    training = training_windows(first, cell, settings.data_dir, settings.campaign)
    description = describe_evaluation(settings, store, emulators, cells, len(rows))

    with (
        folder_lock(folder, "evaluated", "runs_dir"),
        settings.tracking.run(run_name(settings), resolved_dict(config), folder) as run,
    ):
        save_run_config(config, folder)
        run.file(folder / CONFIG)
        run.dataset("traces", store.key, str(store.folder), {"cells": len(cells), "cells.windowed": len(rows)})
        candidates = make_candidates(settings, emulators, windows, training)
        result = measure(candidates, cells, rows, training.windows.scales[training.cell_indices[TRAIN]])
        examples = {
            name: plot_examples(e, windows[e.window], rows, result.errors[name]) for name, e in emulators.items()
        }
        write_results(result, report_sections(result, examples, BASELINES), description, folder, run)
    print("\n".join(description))
    print(f"\n{error_table(result.metrics).to_string(index=False)}")
    print(f"\nreport       {folder / REPORT}\ncompare runs {settings.tracking.ui_location(run)}")
    return result.flat_metrics


def run_name(settings: EvaluateSettings) -> str:
    """Return a name that says what is evaluated: names given by the user, run folders without their date, or URIs."""
    names = []
    for name, path in settings.checkpoints.items():
        parts = [part for part in Path(path).parent.parts[-2:] if not re.fullmatch(r"\d{4}-\d\d-\d\d", part)]
        is_given = isinstance(settings.compare, dict) and name in settings.compare
        names.append(name if is_given else path if ":" in path else "/".join(parts) or path)
    return f"evaluate {', '.join(names)}"


def load_emulators(settings: EvaluateSettings) -> dict[str, Emulator]:
    """Load the emulators to the device where they predict.

    Raises:
        UserError: they are of different cell models or transients.
    """
    device = "cuda" if settings.accelerator == "gpu" else "cpu"
    emulators = {name: load_emulator(path).to(device) for name, path in settings.checkpoints.items()}
    first, *others = emulators.values()
    for emulator in others:
        check_same_cell(first, emulator)
    return emulators


def open_traces(settings: EvaluateSettings, cell: Cell, emulators: Emulators) -> TraceStore:
    """Open the given traces, or simulate the design with the emulators' own cell model.

    Raises:
        UserError: the traces are of another cell, start at another time, or are too short for the windows.
    """
    first = next(iter(emulators.values()))
    if settings.store is not None:
        check_trace_store(settings.store, first)
        check_duration(settings.store.duration_ms, emulators, "traces")
        return settings.store
    longest_ms = max(emulator.specification.simulator_arguments["duration_ms"] for emulator in emulators.values())
    duration_ms, scales = settings.duration_ms or longest_ms, settings.design(scaled=cell.scaled)
    check_duration(duration_ms, emulators, "duration_ms")
    folder, simulator = settings.data_dir / "traces", first.specification.simulator_arguments
    record, transient_ms = simulator["record"], simulator["transient_ms"]
    return campaign(
        CampaignSpec(cell, scales, duration_ms, settings.solver, folder, settings.campaign, record, transient_ms)
    )


def check_duration(duration_ms: float, emulators: Emulators, setting: str) -> None:
    """Raise a UserError if traces are too short for the windows of an emulator."""
    for name, emulator in emulators.items():
        if duration_ms < (need_ms := emulator.window.shortest_trace_ms):
            raise UserError(
                f"{setting}: got traces of {duration_ms:g} ms, but the windows of {name} need at least {need_ms:g} ms; "
                "use longer traces"
            )


def make_candidates(
    settings: EvaluateSettings, emulators: Emulators, windows: Windows, training: WindowDataModule
) -> dict[str, Candidate]:
    """Gather what is measured: the emulators, the published LSTM if it is asked for, and the baselines."""
    rule = next(iter(emulators.values())).window  # of the baselines too
    if settings.published_lstm:
        folder = settings.data_dir / "seed_networks"
        emulators = add_published_lstm(emulators, training, folder, settings.accelerator)
    candidates = {name: Candidate(e, windows[e.window], e.window.time_ms) for name, e in emulators.items()}
    baselines = make_baselines(training).items()
    return candidates | {name: Candidate(baseline, windows[rule], rule.time_ms) for name, baseline in baselines}


def describe_evaluation(
    settings: EvaluateSettings, store: TraceStore, emulators: Emulators, cells: pd.DataFrame, windowed: int
) -> list[str]:
    """Return sentences on what is measured on which cells."""
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in cells["outcome"].value_counts().items())
    first = next(iter(emulators.values()))
    transient = f" after {transient_s(first):g} s" if transient_s(first) else ""
    description = [
        *(f"{name}: {path}, {describe_windows(emulators[name].window)}" for name, path in settings.checkpoints.items()),
        f"{len(cells)} unseen cells of {cell_model_name(first)}, {store.duration_ms / 1000:g} s each{transient}: "
        f"{outcomes}. Errors are measured on the {windowed} cells with windows.",
    ]
    if any(emulator.window != first.window for emulator in emulators.values()):
        description.append(
            "The emulators have different windows, so their errors are over different samples. The baselines predict "
            "the windows of the first emulator."
        )
    return description


def describe_windows(rule: WindowRule) -> str:
    """Return a phrase on the length of windows, and where they begin."""
    begin = "consecutive" if rule.align == "none" else f"from {rule.offset_ms:g} ms before an AP start ({rule.align})"
    return f"windows of {rule.length_ms:g} ms, {begin}"


def write_results(
    result: EvaluationResult, sections: list[Section], description: list[str], folder: Path, run: Run
) -> None:
    """Write metrics, the table of errors, figures and report to the folder, and record them."""
    origin = {"command": provenance.command(), "code": provenance.code_digest()} | provenance.git_state()[0]
    origin_text = "\n".join(f"{key}: {value}" for key, value in origin.items())
    texts = {
        METRICS_FILE: json.dumps(result.flat_metrics, indent=2),
        "cells.csv": result.table.to_csv(index=False, float_format="%.7g"),
        REPORT: render_html("Evaluation", description, sections, origin_text),
    }
    for name, text in texts.items():
        with atomic_write(folder / name) as file:
            file.write_text(text, encoding="utf-8")
        run.file(folder / name)
    (folder / "figures").mkdir(exist_ok=True)
    for section in sections:
        if section.figure:
            path = folder / "figures" / f"{section.name}.png"
            section.figure.savefig(path)
            run.file(path, "figures")
            if section.name.startswith("examples-"):
                run.image(section.figure, section.name.removeprefix("examples-"), 0)
    run.summary(result.flat_metrics)
    pages = {"report": f"artifacts/{REPORT}", "predictions and charts": "model-metrics"}
    run.describe(format_summary(result.flat_metrics), pages)
