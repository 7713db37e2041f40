"""Hook implementations; the work sits in the modules beside this one."""

from __future__ import annotations

from collections.abc import Callable

from astrid_hookspecs import hookimpl
from astrid_hookspecs.vfs import VfsBackendRecord, VfsDirectory

ASTRID_API = (1, 0)
"""The hook contract this plugin was written for."""


def opener(scheme: str) -> Callable[[str], VfsDirectory]:
    """Opens the roots of a URL scheme; fsspec is imported on first need."""

    def open_root(root: str) -> VfsDirectory:
        from astrid_vfs_fsspec.roots import open_root as open_url  # noqa: PLC0415 - on first need

        return open_url(scheme, root)

    return open_root


@hookimpl
def astrid_register_vfs_backends() -> list[VfsBackendRecord]:
    """Declare `fsspec` for every URL of fsspec, and two schemes of their own."""
    named = {"fsspec": "fsspec", "fsspec-memory": "memory", "fsspec-zip": "zip"}
    return [
        VfsBackendRecord(
            name=name,
            schemes=frozenset({scheme}),
            capabilities=frozenset(),
            factory=opener(scheme),
        )
        for name, scheme in named.items()
    ]
