"""Shared by all packages: errors, array shapes, the registration of time."""
