"""Where the shards of a campaign are simulated: an engine takes them from a list and hands them back written."""

from cardioemu.simulation.campaigns.executors import dask, local

EXECUTORS = {"local": local.run, "dask": dask.run}

__all__ = ["EXECUTORS"]
