"""The jobs: train, simulate, evaluate, tune, sync."""
