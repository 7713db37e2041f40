"""Stand-ins for both sides of the contract, for tests of plugins and of what uses them."""

from __future__ import annotations

from astrid_conformance.fakes.host_api import HostCall, RecordingHostApi, RecordingHostInstance
from astrid_conformance.fakes.kv_store import DictKvStore
from astrid_conformance.fakes.secret_store import DictSecretStore
from astrid_conformance.fakes.vfs import DictDirectory, dict_vfs
from astrid_conformance.fakes.vfs_file import DictFile
from astrid_conformance.fakes.vfs_overlay import DictOverlay, make_dict_overlay

__all__ = [
    "DictDirectory",
    "DictFile",
    "DictKvStore",
    "DictOverlay",
    "DictSecretStore",
    "HostCall",
    "RecordingHostApi",
    "RecordingHostInstance",
    "dict_vfs",
    "make_dict_overlay",
]
