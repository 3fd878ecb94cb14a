"""The solvers against the reference of the Akwaboah et al. 2021 model, computed by CVODES at tolerance 1e-10."""

import json
from functools import cache

import numpy as np
import pytest
from trace_shapes import REFERENCE, REFERENCE_TIME_MS, reference

from cardioemu.simulation import load_cell, simulate
from cardioemu.traces import biomarkers, upward_crossings

VARIANTS = ["notebook", "program", "corrected"]
BIOMARKERS = json.loads((REFERENCE / "biomarkers.json").read_text())
# From the README of the reference: cells without an AP, and cells that stop.
QUIESCENT = {"notebook": [4, 9, 18, 20], "program": [4, 9, 18, 20], "corrected": [9, 18, 20]}
STOPS = {"notebook": [], "program": [12, 14], "corrected": []}
TOLERANCES = {  # our column: (name in the reference, largest difference)
    "mdp_mV": ("mdp_mV", 0.05),
    "peak_mV": ("peak_mV", 0.05),
    "amplitude_mV": ("amplitude_mV", 0.05),
    **{f"apd{x}_ms": (f"apd{x}_from_{{}}_ms", 0.05) for x in (50, 75, 90)},
}


@cache
def solved(variant, rtol):
    return simulate(load_cell("akwaboah2021", variant), reference(variant)["scales"], 5000.0, rtol=rtol)


@cache
def control(variant):
    return simulate(load_cell("akwaboah2021", variant), np.ones(5), 20000.0, rtol=1e-7)[0]


def rmse_mV(trace, voltage_mV, until=5000.0):
    inside = until >= REFERENCE_TIME_MS
    return np.sqrt(np.mean((trace.voltage_mV(REFERENCE_TIME_MS[inside]) - voltage_mV[inside]) ** 2))


def all_rmse_mV(rtol):
    return {
        f"{variant} {i}": rmse_mV(trace, voltage_mV)
        for variant in VARIANTS
        for i, (trace, voltage_mV) in enumerate(
            zip(solved(variant, rtol), reference(variant)["voltage_mV"], strict=True)
        )
    }


def test_rodas_follows_all_72_traces():
    rmse = all_rmse_mV(1e-5)
    exceptions = {name: value for name, value in rmse.items() if value > 0.05}
    assert len(rmse) == 72
    assert len(exceptions) <= 2, exceptions
    assert all(value <= 0.5 for value in exceptions.values()), exceptions


def test_rodas_converges_to_the_reference():
    exceptions = {name: value for name, value in all_rmse_mV(1e-7).items() if value > 0.02}
    assert not exceptions


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_error_falls_with_rtol(variant):
    tolerances = [1e-3, 1e-4, 1e-5, 1e-6, 1e-7]
    rmse = np.array([list(map(rmse_mV, solved(variant, r), reference(variant)["voltage_mV"])) for r in tolerances])
    median, p95, largest = np.quantile(rmse, [0.5, 0.95, 1], axis=1)
    assert median[1] <= 0.1
    assert median[2] <= 0.02
    for values in (median, p95, largest):
        assert (np.diff(values) < 0).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_labels(variant):
    labels = np.array([trace.label for trace in solved(variant, 1e-5)])
    assert np.flatnonzero(labels == "quiescent").tolist() == QUIESCENT[variant]
    assert np.flatnonzero(labels == "stops").tolist() == STOPS[variant]


@pytest.mark.parametrize(("cell", "last_s"), [(12, 1.2), (14, 1.1)])
def test_cells_that_fire_twice_and_stop(cell, last_s):
    starts = solved("program", 1e-5)[cell].starts_ms
    assert len(starts) == 2
    assert round(starts[-1] / 1000, 1) == last_s


@pytest.mark.parametrize("apd_from", ["upstroke", "peak"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_biomarkers_of_the_control_cell(variant, apd_from):
    ours = biomarkers(control(variant), apd_from)
    last = BIOMARKERS[variant]["last_beat"]
    upto = ours[ours["start_ms"] < last["t_max_upstroke_ms"]]
    for theirs, rows in ((last, upto.tail(1)), (BIOMARKERS[variant]["mean_of_last_ten"], upto.tail(10))):
        mean = rows.mean()
        for column, (name, tolerance) in TOLERANCES.items():
            name = name.format("max_upstroke" if apd_from == "upstroke" else "peak")
            assert mean[column] == pytest.approx(theirs[name], abs=tolerance), column
        assert mean["dvdt_max_V_s"] == pytest.approx(theirs["dvdt_max_V_per_s"], rel=0.005)


@pytest.mark.parametrize("variant", VARIANTS)
def test_cycle_length_of_the_control_cell(variant):
    theirs = BIOMARKERS[variant]
    crossings = upward_crossings(control(variant), -20)
    before = crossings[crossings < theirs["last_beat"]["t_max_upstroke_ms"] + 1]
    lengths = np.diff(crossings[: len(before) + 1])
    assert lengths[-1] == pytest.approx(theirs["last_beat"]["cycle_length_ms"], abs=0.05)
    assert lengths[-10:].mean() == pytest.approx(theirs["mean_of_last_ten"]["cycle_length_ms"], abs=0.05)


def test_scipy_agrees_with_the_reference_and_with_rodas():
    (trace,) = simulate(load_cell("akwaboah2021", "corrected"), np.ones(5), 600.0, solver="scipy", rtol=1e-8)
    assert rmse_mV(trace, reference("corrected")["voltage_mV"][0], until=600.0) < 0.002
    t = np.linspace(0, 600, 12345)
    np.testing.assert_allclose(trace.voltage_mV(t), control("corrected").voltage_mV(t), atol=0.02)
