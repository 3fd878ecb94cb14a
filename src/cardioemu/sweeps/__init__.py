"""The run that the runs of a sweep or a search belong to."""
