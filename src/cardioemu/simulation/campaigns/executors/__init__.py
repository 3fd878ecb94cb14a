"""Executors: simulate and write the shards of a campaign, in this process or on Dask workers."""
