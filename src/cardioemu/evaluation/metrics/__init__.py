"""Errors of predictions: pure functions."""
