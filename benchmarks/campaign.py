"""What a campaign takes: time, peak memory and disk of whole runs of `simulate.py`, each into a fresh folder.

    python benchmarks/campaign.py [NAME ...]

Prints a Markdown table. The time is that of the whole program, from its start to the summary; the memory is the largest
resident set of any of its processes. Needs 4 GB of disk, in the folder for temporary files.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIMULATE = Path(__file__).parent.parent / "simulate.py"
CAMPAIGNS = {
    "factorial": ["design=factorial", "simulator.duration_ms=5000"],
    "factorial_dask": ["design=factorial", "simulator.duration_ms=5000", "campaign=dask"],
    "rays": ["design=rays", "simulator.duration_ms=100000"],
}


def measure(overrides: list[str], folder: Path) -> dict[str, str]:
    """Run one campaign; what it prints goes to the error stream."""
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, str(SIMULATE), *overrides, f"data_dir={folder}"], stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    assert status == 0, f"{overrides} failed"
    sizes = [path.stat().st_size for path in folder.rglob("*.parquet")]
    return {
        "time, s": f"{seconds:.0f}",
        "memory, GB": f"{usage.ru_maxrss * 1024 / 1e9:.2f}",
        "disk, GB": f"{sum(sizes) / 1e9:.2f}",
        "shards": f"{len(sizes)}",
    }


def main() -> None:
    """Print one row per campaign."""
    rows: dict[str, dict[str, str]] = {}
    for name in sys.argv[1:] or CAMPAIGNS:
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = measure(CAMPAIGNS[name], Path(folder))
    columns = list(next(iter(rows.values())))
    print(f"| campaign | {' | '.join(columns)} |\n|{' --- |' * (1 + len(columns))}")
    for name, row in rows.items():
        print(f"| `{' '.join(CAMPAIGNS[name])}` | {' | '.join(row.values())} |")


if __name__ == "__main__":
    main()
