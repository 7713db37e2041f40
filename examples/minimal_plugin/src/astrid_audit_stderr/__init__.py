"""Prints each audited refusal on stderr."""
