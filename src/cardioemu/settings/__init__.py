"""The top level of each job's config: one file per job, one field per key, annotated with what is allowed."""
