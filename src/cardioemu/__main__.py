"""The console command: `cardioemu JOB setting=value ...`, the same as `python -m cardioemu JOB ...`."""

import sys
from importlib import import_module

from cardioemu import __version__
from cardioemu.common.errors import name_hint
from cardioemu.jobs import JOBS

USAGE = """usage: cardioemu JOB [setting=value ...] [--config-dir DIR] [-m]
       cardioemu JOB --help | --cfg job
       cardioemu --version

jobs:
{jobs}

--cfg job       print every setting of a job, as the command line composes them
--config-dir    a folder of your own config files, with groups as in conf/
-m              a sweep: several values of a setting, as in trainer.max_epochs=50,100
"""


def main() -> None:
    """Run the job that the command line names."""
    name, arguments = next(iter(sys.argv[1:]), "--help"), sys.argv[2:]
    if name in ("--help", "-h"):
        print(USAGE.format(jobs="\n".join(f"  {job:<10} {text}" for job, text in JOBS.items())), end="")
    elif name == "--version" or "--version" in arguments:
        print(f"cardioemu {__version__}")
    elif name in JOBS:
        sys.argv = [f"cardioemu {name}", *arguments]
        run_job(name)
    else:
        hint = name_hint(name, JOBS, otherwise=f"it must be one of {', '.join(JOBS)}")
        print(f"cardioemu: got the job {name!r}; {hint}", file=sys.stderr)
        sys.exit(2)


def run_job(name: str) -> None:
    """Import and run one job, whose command line is `sys.argv`."""
    import_module(f"cardioemu.jobs.{name}").main()


if __name__ == "__main__":
    main()
