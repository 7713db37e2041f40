"""Stand-ins for the kernel's side of the contract, for tests of plugins."""

from __future__ import annotations

from astrid_conformance.fakes.host_api import RecordingHostApi, RecordingHostInstance
from astrid_conformance.fakes.kv_store import DictKvStore

__all__ = ["DictKvStore", "RecordingHostApi", "RecordingHostInstance"]
