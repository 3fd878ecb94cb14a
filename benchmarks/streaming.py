"""Training on more windows than memory holds.

    python benchmarks/streaming.py [DATA_DIR]

The windows of the whole factorial (4 of 10 000 points from each cell that fires: 16 GB) are read from the disk while a
network trains on them, with and without a limit of 6 GB on the memory of the process and its pages of files (a control
group of Linux, where one may be made). Beside it stands a set of the same windows that is held in memory. Prints
samples per second of an epoch with nothing in the system's cache (cold) and of the next (warm), their ratio to the set
in memory, and the most anonymous memory (RssAnon) that the process had.

DATA_DIR keeps traces and windows, 20 GB, for the next time; without it they are made anew and removed: 20 minutes more.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from memory import anonymous

CGROUP = Path("/sys/fs/cgroup/memory")
LIMIT = 6 * 10**9
HELD_WINDOWS = 20_000
BATCH_SIZE = 256


def train(data_dir: str, held: bool, epochs: int) -> None:
    """Train in the measured process, and print the samples per second of each epoch."""
    import torch
    from pytorch_lightning.callbacks import Callback

    from cardioemu.data import SplitRule, WindowDataModule
    from cardioemu.emulator import Specification
    from cardioemu.models import LSTMNetwork
    from cardioemu.simulation import CampaignSpec, SolverSettings, campaign, design, load_cell
    from cardioemu.training import EmulatorModule, KerasRMSprop, TrainerSettings, fit
    from cardioemu.windowing import WindowRule, build_window_set

    class Speed(Callback):
        """Samples per second of the training batches of each epoch; validation comes after the last."""

        def __init__(self) -> None:
            self.found: list[float] = []

        def on_train_epoch_start(self, *_: Any) -> None:
            self.begin, self.samples = time.perf_counter(), 0

        def on_train_batch_end(self, _: Any, __: Any, ___: Any, batch: Any, ____: Any) -> None:
            self.samples += len(batch[0])
            self.last = time.perf_counter()

        def on_train_epoch_end(self, *_: Any) -> None:
            self.found.append(self.samples / (self.last - self.begin))

    cell, folder = load_cell("akwaboah2021"), Path(data_dir)
    traces = campaign(CampaignSpec(cell, design("factorial"), 5000.0, SolverSettings(), folder / "traces"))
    windows = build_window_set(traces, WindowRule(length_ms=500.0, samples=10_000, count=4), folder / "windows")
    split = SplitRule(validation=0.01, test=0.01, duplicates="keep", batch_size=BATCH_SIZE, seed=0)
    data = WindowDataModule(windows, split)
    rows = data.cell_indices["train"]
    if held:
        data.cell_indices["train"] = rows[:: len(rows) * windows.count // HELD_WINDOWS]
        data.memory_budget = {"host": 2**62}
    network = LSTMNetwork(samples=10_000, hidden=256)
    network.normaliser.fit([torch.from_numpy(windows.windows(rows[:64])).flatten(0, 1)])
    specification = Specification("LSTMNetwork", {}, [], [], [], {}, {}, "", {}, {}, "", torch.empty(0, 5))
    speed = Speed()
    with tempfile.TemporaryDirectory() as run:
        trainer = TrainerSettings(max_epochs=epochs).make_trainer(Path(run), [speed])
        size = len(data.cell_indices["train"]) * windows.bytes_per_cell
        drop_caches(windows.folder)
        fit(trainer, EmulatorModule(network, KerasRMSprop, specification), data, None)
    print(json.dumps({"speeds": speed.found, "bytes": size}))


def drop_caches(folder: Path) -> None:
    """Has the system forget what it has read of the files of a folder."""
    for path in folder.rglob("*.npy"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def limited() -> Iterator[Path | None]:
    """Make a control group with a limit on memory; None where that is not allowed."""
    group = CGROUP / "cardioemu-benchmark"
    try:
        group.mkdir(exist_ok=True)
        (group / "memory.limit_in_bytes").write_text(str(LIMIT))
    except OSError:
        yield None
        return
    try:
        yield group
    finally:
        group.rmdir()


def measured(data_dir: Path, held: bool, epochs: int, group: Path | None = None) -> tuple[dict[str, Any], int]:
    """Run `train` in a process of its own; return what it printed, and its most anonymous memory."""

    def join() -> None:
        if group:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    command = [sys.executable, __file__, str(data_dir), "held" if held else "streamed", str(epochs)]
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=join) as process:
        while process.poll() is None:
            peak = max(peak, anonymous(process.pid))
            time.sleep(0.02)
        assert process.stdout
        said = process.stdout.read()
    if process.returncode:
        sys.exit(f"exit status {process.returncode}")
    return json.loads(said.splitlines()[-1]), peak


def main(data_dir: Path) -> None:
    """Print one line per run; the set in memory is measured before, between and after the others."""
    in_memory, lines = [], []

    def hold() -> None:
        found, _ = measured(data_dir, held=True, epochs=4)
        in_memory.extend(found["speeds"][1:])
        print("held in memory  ", found["bytes"] / 1e9, "GB", [round(speed) for speed in found["speeds"]], flush=True)

    hold()
    with limited() as group:
        for name, where in (("no limit", None), (f"limit {LIMIT / 1e9:.0f} GB", group)):
            if name != "no limit" and where is None:
                print("no control group may be made here: the run with a limit is left out")
                continue
            found, peak = measured(data_dir, held=False, epochs=2, group=where)
            print(f"streamed, {name}", found, peak, flush=True)
            lines.append((name, found, peak))
            hold()
    reference = median(in_memory)
    print(f"\nheld in memory: {reference:.0f} samples/s, median of {len(in_memory)} epochs")
    print(f"{'streamed':14}{'GB':>6}{'cold /s':>10}{'warm /s':>10}{'cold':>8}{'warm':>8}{'RssAnon GB':>12}")
    for name, found, peak in lines:
        cold, warm = found["speeds"]
        ratios = f"{cold / reference:8.2f}{warm / reference:8.2f}"
        print(f"{name:14}{found['bytes'] / 1e9:6.1f}{cold:10.0f}{warm:10.0f}{ratios}{peak / 1e9:12.2f}")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        train(sys.argv[1], sys.argv[2] == "held", int(sys.argv[3]))
    elif len(sys.argv) == 2:
        main(Path(sys.argv[1]).absolute())
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
