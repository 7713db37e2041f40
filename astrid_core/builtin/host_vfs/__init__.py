"""The file system backend for directories of the host's disk."""

from astrid_core.builtin.host_vfs.backend import open_host_directory, open_host_url

__all__ = ["open_host_directory", "open_host_url"]
