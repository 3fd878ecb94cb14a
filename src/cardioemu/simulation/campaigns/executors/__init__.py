"""The Dask executor: simulate and write the shards of a campaign on workers."""
