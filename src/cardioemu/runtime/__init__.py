"""Access to the machine: files, locks, cores and memory, progress bars."""
