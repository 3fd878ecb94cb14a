"""Runs a study again: the commands of its README, one after the other, from the root of the repository.

    python experiments/study.py NAME

They stand there in blocks without a language; those that begin with `# on a GPU` are left out where there is none. A
command that fails ends the study. The same command goes on: what was simulated and trained before is not done again.
"""

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def can_run(commands: str) -> bool:
    """Tells whether this machine has what a block of commands needs."""
    if not commands.startswith("# on a GPU\n"):
        return True
    import torch  # for seconds, and most studies ask for none

    return torch.cuda.is_available()


def main(name: str) -> int:
    """Run the study; return its exit status."""
    studies = sorted(readme.parent.name for readme in HERE.glob("*/README.md"))
    if name not in studies:
        print(f"NAME: got {name!r}; allowed: {', '.join(studies)}", file=sys.stderr)
        return 2
    for commands in BLOCK.findall((HERE / name / "README.md").read_text(encoding="utf-8")):
        if not can_run(commands):
            print(f"left out, for no CUDA device is visible:\n{commands}", file=sys.stderr)
        elif status := subprocess.run(["sh", "-exc", commands], cwd=HERE.parent).returncode:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
