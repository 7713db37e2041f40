"""The audit log on disk: written by one kernel, read by anybody who may read the home."""
