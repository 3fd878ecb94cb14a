"""A campaign of a small cell model, in this process or in another: `python small_campaign.py FOLDER LOG`."""

import json
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
from small_cells import small_cell

from cardioemu.common.errors import UserError
from cardioemu.simulation import CampaignSpec, SolverSettings, campaign, simulate
from cardioemu.simulation.campaigns import plan, shard_work

# A relaxation oscillator of 2.5 s; with `a` above 1.5 it runs away.
RATES = {"V": "if(a > 1.5, -V^2, 0.4 * (60 * tanh - V))", "x": "(V / 60 - 0.5 * x) / 60"}
MORE = "a = 1\nb = 1\nz = b * V / 20 - 3 * x\ntanh = 1 - 2 / (1 + exp(2 * z))"
SCALES = np.array([[1.0, 1.0], [1.0, 0.5], [2.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.5, 1.5]])
FAILING, TWICE = 2, (0, 5)
SOLVER = SolverSettings(threads=1)
DURATION = 2500.0
MANY = np.stack([np.linspace(0, 1.4, 80), np.ones(80)], axis=1)


def oscillator(folder):
    """The cell model, from a file in `folder`."""
    return small_cell(folder, {"V": -60, "x": -1}, RATES, MORE, {"a": "m.a", "b": "m.b"})


def spec_of(cell, folder=Path(), scales=SCALES, **changes):
    """A campaign of that cell model."""
    settings = {"duration_ms": DURATION, "solver": SOLVER, "folder": folder, "scales": scales}
    return CampaignSpec(cell, **settings | changes)


def run(cell, folder, scales=SCALES, **changes):
    """Its trace store."""
    return campaign(spec_of(cell, folder, scales, **changes))


def run_in_small_shards(*args, **kwargs):
    """Its trace store, in shards of two cells, for fixtures of a module."""
    with patch.object(plan, "CELL_MS_PER_SHARD", 2 * DURATION):
        return run(*args, **kwargs)


def files_of(folder):
    """Name -> bytes of every shard of the only campaign below a folder."""
    return {path.name: path.read_bytes() for path in folder.glob("*/*.parquet")}


def main(folder, log):
    """Run a campaign of 40 shards; log the scales of every shard that is simulated in full."""

    def logging(cell, scales, duration_ms, *args, **kwargs):
        traces = simulate(cell, scales, duration_ms, *args, **kwargs)
        if duration_ms == DURATION:  # otherwise it is the pilot of the forecast
            time.sleep(0.05)
            with Path(log).open("a") as file:
                file.write(json.dumps(scales[:, 0].tolist()) + "\n")
        return traces

    shard_work.simulate = logging
    plan.CELL_MS_PER_SHARD = 2 * DURATION
    cell = oscillator(Path(log).parent)
    print("ready", flush=True)
    try:
        run(cell, Path(folder), MANY)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def start(folder, log, **kwargs):
    """Start this file as a program; return when its campaign is about to begin."""
    # Imported here, because it imports everything: seconds for this program and for Dask workers.
    from tiny_job import environment

    process = subprocess.Popen(
        [sys.executable, __file__, str(folder), str(log)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def finish(process):
    """Wait for the process; return its exit status and its error output."""
    _, err = process.communicate(timeout=300)
    return process.returncode, err


def logged(log):
    """The scales of the fully simulated shards."""
    return [tuple(json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []


def wait_for(condition, seconds=300):
    """Return when a condition is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


if __name__ == "__main__":
    main(*sys.argv[1:])
