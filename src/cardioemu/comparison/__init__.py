"""Emulators and baselines measured on the same cells."""
