"""Memory of a population: what is recorded, and a little for every cell."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.memory

# A process of its own, whose peak is that of the population; a small one before it loads all that it needs.
CODE = """
import json, resource, sys
import numpy as np
from cardioemu.simulation import design, load_cell, simulate

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

cell, scales = load_cell("akwaboah2021"), design("sobol", n=20_000)
simulate(cell, scales[:100], 500.0)
before = peak()
traces = simulate(cell, scales, 500.0)
recorded = sum(a.nbytes for t in traces for a in (t.step_time_ms, t.step_voltage_mV, t.step_dvdt_mV_per_ms))
print(json.dumps({"cells": len(traces), "recorded": recorded, "grown": peak() - before}))
"""


def test_memory_is_bounded_by_what_is_recorded():
    """No cell is held twice: the solver's steps go into traces while others are still integrated."""
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    found = json.loads(result.stdout)
    assert found["recorded"] > 5e7
    assert found["grown"] < 1.25 * found["recorded"] + 2500 * found["cells"], found
