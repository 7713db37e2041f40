"""File systems of `[mounts]` in `etc/config.toml`: which plugin serves each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from astrid_core.config.settings import MountSettings
from astrid_core.pluginhost.registry import Registry
from astrid_hookspecs.errors import PluginLoadError
from astrid_hookspecs.vfs import VfsBackendRecord, VfsDirectory


@dataclass(frozen=True, slots=True)
class ConfiguredMount:
    """One mount.

    Attributes:
        open: Opens its root; raises what the backend raises.
        writable: Whether guests may change it.
    """

    open: Callable[[], VfsDirectory]
    writable: bool


def configured_mounts(
    mounts: Mapping[str, MountSettings], registry: Registry
) -> dict[str, ConfiguredMount]:
    """Find the backend of each mount; nothing is opened.

    Raises:
        PluginLoadError: `plugin.missing`: no plugin serves a URL's scheme.
    """
    backends = {
        scheme: record for record in registry.records(VfsBackendRecord) for scheme in record.schemes
    }
    found = {}
    for name, settings in mounts.items():
        backend = backends.get(settings.scheme)
        if backend is None:
            raise PluginLoadError(
                f"no plugin serves {settings.scheme}://, which mounts.{name} in etc/config.toml "
                "needs",
                code="plugin.missing",
                hint=f"there is: {', '.join(sorted(backends)) or 'nothing'}",
            )
        found[name] = ConfiguredMount(partial(backend.factory, settings.root), settings.writable)
    return found
