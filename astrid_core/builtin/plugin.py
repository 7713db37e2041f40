"""Hook implementations of the core's own parts; the work sits in the modules beside this one."""

from __future__ import annotations

from pathlib import Path

from astrid_hookspecs import hookimpl
from astrid_hookspecs.buses import Bus, BusRecord
from astrid_hookspecs.sandboxes import ProcessSandbox, ProcessSandboxRecord
from astrid_hookspecs.stores import KvStore, KvStoreRecord
from astrid_hookspecs.vfs import VfsBackendRecord, VfsDirectory


def _make_kv_store(directory: Path) -> KvStore:
    from astrid_core.builtin.sqlite_kv import SqliteKvStore  # noqa: PLC0415 - on first need

    return SqliteKvStore(directory)


def _make_bus() -> Bus:
    from astrid_core.builtin.memory_bus import MemoryBus  # noqa: PLC0415 - on first need

    return MemoryBus()


def _open_host_root(root: str) -> VfsDirectory:
    from astrid_core.builtin.host_vfs import open_host_url  # noqa: PLC0415 - on first need

    return open_host_url(root)


def _make_bubblewrap() -> ProcessSandbox:
    from astrid_core.builtin.sandbox.bubblewrap import (  # noqa: PLC0415 - on first need
        Bubblewrap,
    )

    return Bubblewrap()


def _make_landlock() -> ProcessSandbox:
    from astrid_core.builtin.sandbox.landlock import Landlock  # noqa: PLC0415 - on first need

    return Landlock()


@hookimpl
def astrid_register_kv_stores() -> list[KvStoreRecord]:
    """Declare the `sqlite` store."""
    return [KvStoreRecord(name="sqlite", factory=_make_kv_store)]


@hookimpl
def astrid_register_buses() -> list[BusRecord]:
    """Declare the `memory` bus."""
    return [BusRecord(name="memory", factory=_make_bus)]


@hookimpl
def astrid_register_vfs_backends() -> list[VfsBackendRecord]:
    """Declare the `host` backend."""
    return [
        VfsBackendRecord(
            name="host",
            schemes=frozenset({"file"}),
            capabilities=frozenset({"hard-link", "symlink", "modes", "atomic-replace"}),
            factory=_open_host_root,
        )
    ]


@hookimpl
def astrid_register_process_sandboxes() -> list[ProcessSandboxRecord]:
    """Declare `bubblewrap`, and `landlock` for where it is missing."""
    return [
        ProcessSandboxRecord(name="bubblewrap", priority=50, factory=_make_bubblewrap),
        ProcessSandboxRecord(name="landlock", priority=60, factory=_make_landlock),
    ]
