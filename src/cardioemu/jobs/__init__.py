"""The jobs of the command line: one module each, with `main()`."""

JOBS = {
    "train": "simulate once, cut windows, train an emulator, test it, record the run",
    "simulate": "simulate a design to a trace store, and summarise what the cells do",
    "evaluate": "measure emulators on cells they have never seen, with a report",
    "tune": "search for good settings of a training",
    "sync": "send the records that runs kept on disk while MLflow was unreachable",
    "ui": "open the recorded runs in MLflow's user interface",
}
"""Name of a job -> what it does."""
