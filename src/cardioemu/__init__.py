"""Simulate populations of heart cells, train emulators of their action potential, track every experiment."""
