"""Directories of the host's disk as file systems: the scheme `file`."""

from __future__ import annotations

from astrid_core.builtin.host_vfs.backend import open_host_directory, open_host_url

__all__ = ["open_host_directory", "open_host_url"]
