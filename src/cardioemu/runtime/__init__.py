"""What a job needs of its machine: files, locks, cores and memory, progress."""
