"""What the config says of the cell model and the solver."""

import numpy as np
import pytest
from small_cells import small_cell

from cardioemu.simulation import CellSettings, SolverSettings, simulate


def test_simulator_refuses_a_wrong_model_when_it_is_made():
    assert CellSettings("akwaboah2021", 10.0).cell.variant == "program"
    with pytest.raises(ValueError, match="allowed is a bundled model"):
        CellSettings("akwaboah", 10.0)
    for duration in (0, -1, float("inf")):
        with pytest.raises(ValueError, match="duration_ms"):
            CellSettings(model="akwaboah2021", duration_ms=duration)


def test_simulator_sets_parameters_states_and_pacing(tmp_path):
    small_cell(tmp_path, {"V": 0}, {"V": "a * pace - V"}, "a = 1\npace = 0 bind pace")
    facts = {"model": str(tmp_path / "small.mmt"), "duration_ms": 10.0, "parameters": {"m.a": 3.0}}
    cell = CellSettings(
        **facts, initial_state={"V": -2.0}, pacing={"period_ms": 4.0, "amplitude": 5.0, "count": 1}
    ).cell
    (trace,) = simulate(cell, [], 1.0, rtol=1e-8)
    assert trace.voltage_mV(1.0) == pytest.approx(15 - 17 * np.exp(-1), rel=1e-6)
    with pytest.raises(ValueError, match=r"the model has no constant 'm\.b'"):
        CellSettings(**facts | {"parameters": {"m.b": 1.0}})
    with pytest.raises(ValueError, match=r"set pacing\.period_ms"):
        CellSettings(**facts, pacing={"amplitude": 2.0})
    with pytest.raises(ValueError, match="cannot be paced"):
        CellSettings("akwaboah2021", 10.0, pacing={"period_ms": 4.0})


@pytest.mark.parametrize("wrong", [{"name": "euler"}, {"rtol": 0}, {"rtol": 1}, {"threads": 0}])
def test_solver_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SolverSettings(**wrong)
