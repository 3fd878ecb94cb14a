"""Search for good settings: the same as `cardioemu tune`."""

from cardioemu.__main__ import run_job

if __name__ == "__main__":
    run_job("tune")
