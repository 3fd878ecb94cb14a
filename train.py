"""Train an emulator: the same as `cardioemu train`."""

from cardioemu.__main__ import run_job

if __name__ == "__main__":
    run_job("train")
