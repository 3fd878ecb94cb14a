"""Send pending records: the same as `cardioemu sync`."""

from cardioemu.__main__ import run_job

if __name__ == "__main__":
    run_job("sync")
