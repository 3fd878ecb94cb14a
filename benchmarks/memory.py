"""What `train.py` says that it will take of memory, and what it takes.

    python benchmarks/memory.py

Each run is a process of its own, looked at every 5 ms from outside: RssAnon, the memory that no file could give back.
What the run predicts is the line "at most" of the table that it prints before it trains. Prints both and their ratio.
Takes 10 minutes, 8 of them for the 840 310 000 parameters of hidden=12000; needs 10 GB of memory and 13 GB of disk.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
RUNS = {
    "the main job": ("trainer.max_epochs=2",),
    "large batches": (
        "trainer.max_epochs=2",
        "model.hidden=2048",
        "data.batch_size=2048",
        "design=sobol",
        "design.n=2048",
    ),
    "windows held": ("trainer.max_epochs=1", "design=sobol", "design.n=8192", "windowing.count=6"),
    "hidden=12000": ("trainer.max_epochs=1", "model.hidden=12000", "design=sobol", "design.n=64"),
}


def measured(overrides: tuple[str, ...], folder: Path) -> tuple[float, float]:
    """Run train.py in a folder of its own; return predicted and measured peak in GB."""
    folder.mkdir()
    command = [sys.executable, str(ROOT / "train.py"), f"data_dir={folder.parent / 'data'}", *overrides]
    peak, said = 0, folder / "said"
    with (
        said.open("w") as file,
        subprocess.Popen(command, cwd=folder, stdout=file, stderr=subprocess.STDOUT) as process,
    ):
        while process.poll() is None:
            peak = max(peak, anonymous(process.pid))
            time.sleep(0.005)
    text = said.read_text()
    if process.returncode:
        sys.exit(text)
    (predicted,) = re.findall(r"^at most +([\d.]+) GB", text, re.MULTILINE)
    return float(predicted), peak / 1e9


def anonymous(pid: int) -> int:
    """Return the bytes of a process that are its own, 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    return 1024 * int(found[1]) if found else 0


def main() -> None:
    """Print one line per run."""
    print(f"{'run':16}{'predicted GB':>14}{'measured GB':>14}{'ratio':>8}")
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        for number, (name, overrides) in enumerate(RUNS.items()):
            predicted, peak = measured(overrides, Path(folder) / str(number))
            print(f"{name:16}{predicted:14.3f}{peak:14.3f}{predicted / peak:8.3f}", flush=True)


if __name__ == "__main__":
    main()
