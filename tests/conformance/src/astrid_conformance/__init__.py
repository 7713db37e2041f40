"""Checks that a plugin runs against itself."""
