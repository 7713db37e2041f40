"""Stand-ins for both sides of the contract, for tests of plugins and of what uses them."""

from __future__ import annotations

from astrid_conformance.fakes.host_api import HostCall, RecordingHostApi, RecordingHostInstance
from astrid_conformance.fakes.kv_store import DictKvStore
from astrid_conformance.fakes.secret_store import DictSecretStore
from astrid_conformance.fakes.vfs import DictDirectory, DictFile, dict_vfs

__all__ = [
    "DictDirectory",
    "DictFile",
    "DictKvStore",
    "DictSecretStore",
    "HostCall",
    "RecordingHostApi",
    "RecordingHostInstance",
    "dict_vfs",
]
