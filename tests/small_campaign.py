"""A campaign of a small cell model, here or in a process of its own: `python small_campaign.py FOLDER LOG`."""

import json
import sys
import time
from pathlib import Path

import numpy as np
from small_cells import small_cell

from cardioemu.errors import UserError
from cardioemu.simulation import Engine, Solver, campaign, simulate
from cardioemu.simulation.campaigns import plan, work

# A relaxation oscillator of 2.5 s; with `a` above 1.5 it runs away.
RATES = {"V": "if(a > 1.5, -V^2, 0.4 * (60 * tanh - V))", "x": "(V / 60 - 0.5 * x) / 60"}
MORE = "a = 1\nb = 1\nz = b * V / 20 - 3 * x\ntanh = 1 - 2 / (1 + exp(2 * z))"
SCALES = np.array([[1.0, 1.0], [1.0, 0.5], [2.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.5, 1.5]])
FAILING, TWICE = 2, (0, 5)
SOLVER = Solver(threads=1)
DURATION = 2500.0
MANY = np.stack([np.linspace(0, 1.4, 80), np.ones(80)], axis=1)


def oscillator(folder):
    """The cell model, from a file in `folder`."""
    return small_cell(folder, {"V": -60, "x": -1}, RATES, MORE, {"a": "m.a", "b": "m.b"})


def files_of(folder):
    """Name -> bytes of every shard of the only campaign below a folder."""
    return {path.name: path.read_bytes() for path in folder.glob("*/*.parquet")}


def main(folder, log, engine="local"):
    """Runs a campaign of 40 shards and writes to `log`, cell by cell, what is simulated in full."""

    def logging(cell, scales, duration_ms, *args, **kwargs):
        traces = simulate(cell, scales, duration_ms, *args, **kwargs)
        if duration_ms == DURATION:  # not those of the forecast
            time.sleep(0.02)
            with Path(log).open("a") as file:
                file.write(json.dumps(scales[:, 0].tolist()) + "\n")
        return traces

    work.simulate = logging
    plan.CELL_MS_PER_SHARD = 2 * DURATION
    cell = oscillator(Path(log).parent)
    print("ready", flush=True)
    try:
        campaign(cell, MANY, DURATION, SOLVER, Path(folder), Engine(engine=engine))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main(*sys.argv[1:])
