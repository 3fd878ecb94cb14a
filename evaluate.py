"""Measure emulators on cells they have never seen: `python evaluate.py checkpoint=RUN_FOLDER/best.ckpt`."""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig

from cardioemu import UserError, load_emulator
from cardioemu.comparison.baselines import BASELINES
from cardioemu.comparison.lineage import (
    cell_model_name,
    check_same_cell,
    check_trace_store,
    load_training_cell,
    trace_settings,
    training_windows,
    transient_s,
)
from cardioemu.comparison.measure import (
    Candidate,
    add_published_lstm,
    exclude_training_cells,
    make_baselines,
    measure,
    plot_examples,
    rows_with_windows,
)
from cardioemu.config.config import build, resolved_dict, save_run_config
from cardioemu.config.launch import launch
from cardioemu.data import TRAIN
from cardioemu.emulator import Emulator
from cardioemu.evaluation import EvaluationResult, Section, error_table, render_html, report_sections
from cardioemu.runtime.files import atomic_write
from cardioemu.runtime.locks import folder_lock
from cardioemu.settings.evaluate import EvaluateSettings
from cardioemu.simulation import Cell, TraceStore, campaign
from cardioemu.tracking import Run, provenance
from cardioemu.windowing import build_window_set

REPORT = "report.html"
OF_FIRST = "The baselines predict those of the first."


def evaluate(config: DictConfig, folder: Path) -> dict[str, float]:
    """Measures emulators and baselines on the same unseen cells; leaves tables, figures and a report."""
    settings = build(config, EvaluateSettings)
    emulators = {name: load(path, settings) for name, path in settings.checkpoints.items()}
    first = next(iter(emulators.values()))
    for emulator in emulators.values():
        check_same_cell(first, emulator)
    settings.tracking.check()
    cell = load_training_cell(first)
    store = traces(settings, cell, emulators)
    windows = {e.window: build_window_set(store, e.window, settings.data_dir / "windows") for e in emulators.values()}
    cells = exclude_training_cells(windows[first.window], emulators.values())
    rows = rows_with_windows(cells, windows.values())
    known = training_windows(first, cell, settings.data_dir, settings.campaign)

    with (
        folder_lock(folder, "evaluated", "runs_dir"),
        settings.tracking.run(folder.name, resolved_dict(config), folder) as run,
    ):
        save_run_config(config, folder)
        run.dataset("traces", store.key, str(store.folder), {"cells": len(cells), "cells.windowed": len(rows)})
        if settings.published_lstm:
            emulators = add_published_lstm(emulators, known, settings.data_dir / "seed_networks", settings.accelerator)
        subjects = {name: Candidate(e, windows[e.window], e.window.time_ms) for name, e in emulators.items()}
        subjects |= {
            name: Candidate(baseline, windows[first.window], first.window.time_ms)
            for name, baseline in make_baselines(known).items()
        }
        found = measure(subjects, cells, rows, known.windows.scales[known.rows[TRAIN]])
        figures = {
            name: plot_examples(e, windows[e.window], rows, found.errors[name])
            for name, e in emulators.items()
            if name in settings.checkpoints
        }
        told = introduction(settings, store, emulators, cells, len(rows))
        write_results(found, report_sections(found, figures, BASELINES), told, folder, run)
    print_report(found, told, folder, settings.tracking.ui_location(run))
    return found.flat_metrics


def load(path: str, settings: EvaluateSettings) -> Emulator:
    """Loads an emulator to where it is to predict."""
    return load_emulator(path).to("cuda" if settings.accelerator == "gpu" else "cpu")


def traces(settings: EvaluateSettings, cell: Cell, emulators: Mapping[str, Emulator]) -> TraceStore:
    """Opens the given traces, or simulates the design by the emulators' own cell model.

    Raises:
        UserError: the traces are of other cells or times, or too short for the windows of an emulator.
    """
    first = next(iter(emulators.values()))
    if settings.store is not None:
        check_trace_store(settings.store, first)
        check_duration(settings.store.duration_ms, emulators, "traces")
        return settings.store
    longest_ms = max(emulator.specification.simulator_arguments["duration_ms"] for emulator in emulators.values())
    duration_ms, scales = settings.duration_ms or longest_ms, settings.design(scaled=cell.scaled)
    check_duration(duration_ms, emulators, "duration_ms")
    folder = settings.data_dir / "traces"
    return campaign(cell, scales, duration_ms, settings.solver, folder, settings.campaign, **trace_settings(first))


def check_duration(duration_ms: float, emulators: Mapping[str, Emulator], setting: str) -> None:
    """Sees to it that traces are long enough.

    Raises:
        UserError: they are too short for the windows of an emulator.
    """
    for name, emulator in emulators.items():
        if duration_ms < emulator.window.shortest_trace_ms:
            raise UserError(
                f"{setting}: got traces of {duration_ms:g} ms, but the windows of {name} need at least "
                f"{emulator.window.shortest_trace_ms:g}; give longer ones"
            )


def introduction(
    settings: EvaluateSettings,
    store: TraceStore,
    emulators: Mapping[str, Emulator],
    cells: pd.DataFrame,
    windowed: int,
) -> list[str]:
    """Says what was measured on which cells."""
    labels = ", ".join(f"{count} {label}" for label, count in cells["outcome"].value_counts().items())
    first = next(iter(emulators.values()))
    after = f" after {transient_s(first):g} s" if transient_s(first) else ""
    differ = any(emulator.window != first.window for emulator in emulators.values())
    return [
        *(f"{name}: {path}, {windows_in_words(emulators[name])}" for name, path in settings.checkpoints.items()),
        f"{len(cells)} unseen cells of {cell_model_name(first)}, {store.duration_ms / 1000:g} s each{after}: {labels}. "
        f"The {windowed} with windows are compared.",
        *(["Their windows differ, so their errors are not of the same samples. " + OF_FIRST] if differ else []),
    ]


def windows_in_words(emulator: Emulator) -> str:
    """Says where the windows of an emulator lie."""
    rule = emulator.window
    about = (
        "one after another" if rule.align == "none" else f"from {rule.offset_ms:g} ms before an AP start ({rule.align})"
    )
    return f"windows of {rule.length_ms:g} ms {about}"


def write_results(found: EvaluationResult, parts: list[Section], told: list[str], folder: Path, run: Run) -> None:
    """Leaves the numbers, the table behind them, the figures and the report, in the folder and in MLflow."""
    made = {"command": provenance.command(), "code": provenance.code_digest()} | provenance.git_state()[0]
    page = render_html("Evaluation", told, parts, "\n".join(f"{name}: {value}" for name, value in made.items()))
    texts = {
        "metrics.json": json.dumps(found.flat_metrics, indent=2),
        "cells.csv": found.table.to_csv(index=False, float_format="%.7g"),
        REPORT: page,
    }
    for name, text in texts.items():
        with atomic_write(folder / name) as file:
            file.write_text(text, encoding="utf-8")
        run.file(folder / name)
    (folder / "figures").mkdir(exist_ok=True)
    for part in parts:
        if part.figure:
            path = folder / "figures" / f"{part.name}.png"
            part.figure.savefig(path)
            run.file(path, "figures")
    run.file(folder / "config.yaml")
    run.metrics(found.flat_metrics)


def print_report(found: EvaluationResult, told: list[str], folder: Path, where: str) -> None:
    """Prints what a user wants to know when the job is done."""
    print("\n".join(told))
    print(f"\n{error_table(found.metrics).to_string(index=False)}")
    print(f"\nreport       {folder / REPORT}\ncompare runs {where}")


if __name__ == "__main__":
    launch(evaluate, Path(__file__).parent / "conf", EvaluateSettings)
