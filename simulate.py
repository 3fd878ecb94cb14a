"""Simulate a design: the same as `cardioemu simulate`."""

from cardioemu.__main__ import run_job

if __name__ == "__main__":
    run_job("simulate")
