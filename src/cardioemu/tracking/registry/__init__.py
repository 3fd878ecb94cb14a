"""Emulators as MLflow models."""
