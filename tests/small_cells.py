"""Small cell models written as text, access to inner functions of the generated C, and whether CVODES is installed."""

import ctypes
from functools import cache

import myokit
import numpy as np
import pytest

from cardioemu.common.errors import UserError
from cardioemu.simulation import load_cell
from cardioemu.simulation.solvers import cvodes
from cardioemu.simulation.solvers.rodas.compiler import load
from cardioemu.simulation.solvers.rodas.solve import generate


def mmt(initial, rates, more=""):
    """A model in ms and mV with one component `m`; V is its membrane potential, `more` contains further equations."""
    starts = "\n".join(f"m.{name} = {value}" for name, value in initial.items())
    derivatives = "\n".join(f"dot({name}) = {rate}" for name, rate in rates.items() if name != "V")
    return (
        f"[[model]]\n{starts}\n[engine]\ntime = 0 [ms] in [ms] bind time\n[m]\n{more}\n"
        f"dot(V) = {rates['V']}\n    in [mV]\n    label membrane_potential\n{derivatives}\n"
    )


# A cell that relaxes, with a conductance g.
START = {"V": -20, "n": 0.3}
RELAXES = {"V": "-g * (V + 80) * n", "n": "(1 - n) / 10"}
SOUND = mmt(START, RELAXES, "g = 1")


def events(*rows):
    """A protocol of Myokit: level, start, length, period and count of each row."""
    protocol = myokit.Protocol()
    for row in rows:
        protocol.schedule(*row)
    return protocol


def small_cell(folder, initial, rates, more="", scaled=None):
    """The cell model of `mmt`, loaded from a file in `folder`."""
    path = folder / "small.mmt"
    path.write_text(mmt(initial, rates, more))
    return load_cell(path, scaled=scaled)


def kernel_with(cell, code):
    """The generated C of a cell model with `code` appended, compiled."""
    return load(generate(cell) + code)


def call(function, *arguments):
    """Call a C function with arrays as pointers and integers as int64."""

    def converted(a):
        return a.ctypes.data_as(ctypes.c_void_p) if isinstance(a, np.ndarray) else ctypes.c_int64(a)

    function.restype = None
    function(*(ctypes.c_double(a) if isinstance(a, float) else converted(a) for a in arguments))


@cache
def cvodes_error():
    try:
        cvodes._simulation(load_cell("akwaboah2021"))
    except UserError as error:
        return str(error)
    return None


def skip_without_cvodes():
    if cvodes_error():
        pytest.skip(cvodes_error())
