"""Measure emulators: the same as `cardioemu evaluate`."""

from cardioemu.__main__ import run_job

if __name__ == "__main__":
    run_job("evaluate")
