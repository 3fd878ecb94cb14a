"""Parent runs of sweeps and searches, and the study of a search."""
