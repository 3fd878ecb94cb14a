"""Names that several rooms must agree on: of the metrics that runs are compared by, and of the file that holds them."""

VALIDATION_METRIC = "val/rmse_mV"
"""RMSE on the validation split, mean over cells: chooses the best epoch, the learning rate and the trials to stop."""

TEST_METRIC = "test/rmse_mV_mean"
"""RMSE on the test split, mean over cells: compares the runs of a sweep."""

METRICS_FILE = "metrics.json"
"""In the folder of a run or an evaluation: its final metrics by name."""
