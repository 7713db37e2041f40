"""The version of this program, readable without its metadata, which costs 30 ms."""

from __future__ import annotations

VERSION = "0.1.0"
"""The distribution's version; a test compares the two."""
