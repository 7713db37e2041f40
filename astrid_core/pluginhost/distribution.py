"""A distribution build: an installed package that brings the settings of `etc/` with it.

Its entry point in the group `astrid.distribution` names a package, and in that package lie the two
files that an operator would otherwise write, in the same form: `plugins.toml` says which plugins
belong to it, and `config.toml` has its settings. Both are data. Nothing of the package is imported,
because what may be imported is what they decide.

An operator's own `etc/plugins.toml` takes the place of the first, and each key of an operator's
`etc/config.toml` that of the same key in the second.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Final

from astrid_hookspecs.errors import PluginConflictError, PluginContractError, PluginLoadError

DISTRIBUTION_GROUP: Final = "astrid.distribution"


@dataclass(frozen=True, slots=True)
class DistributionBuild:
    """The distribution build of this environment.

    Attributes:
        name: Of the installed package.
        version: Its version.
        directory: Where its files lie.
    """

    name: str
    version: str
    directory: Path

    @property
    def plugins_file(self) -> Path | None:
        """Its allow-list; None when it has none."""
        return self._file("plugins.toml")

    @property
    def config_file(self) -> Path | None:
        """Its settings; None when it has none."""
        return self._file("config.toml")

    def _file(self, name: str) -> Path | None:
        path = self.directory / name
        return path if os.path.lexists(path) else None


def find_distribution() -> DistributionBuild | None:
    """The distribution build that is installed; None without one.

    Raises:
        PluginConflictError: There are two, and nothing says which one holds.
        PluginContractError: The entry point names something else than a top-level package.
        PluginLoadError: The package is not there.
    """
    found = sorted(importlib.metadata.entry_points(group=DISTRIBUTION_GROUP), key=_label)
    if not found:
        return None
    if len(found) > 1:
        raise PluginConflictError(
            f"two distribution builds are installed: {_label(found[0])} and {_label(found[1])}",
            hint="uninstall one of the two, or keep each in an environment of its own",
        )
    (point,) = found
    return DistributionBuild(
        name=point.dist.name if point.dist is not None else point.name,
        version=point.dist.version if point.dist is not None else "",
        directory=_directory(point),
    )


def bundled_settings() -> Path | None:
    """The `config.toml` of the distribution build, if there is one.

    Raises:
        PluginError: As `find_distribution`.
    """
    build = find_distribution()
    return None if build is None else build.config_file


def bundled_allow_list() -> Path | None:
    """The `plugins.toml` of the distribution build, if there is one.

    Raises:
        PluginError: As `find_distribution`.
    """
    build = find_distribution()
    return None if build is None else build.plugins_file


def _directory(point: EntryPoint) -> Path:
    if not point.value.isidentifier():  # looking for a package within another imports that one
        raise PluginContractError(
            f"{_label(point)} names {point.value!r} as its files; that is no top-level package",
            hint=f"correct the entry point in the group {DISTRIBUTION_GROUP!r}",
        )
    spec = importlib.util.find_spec(point.value)
    if spec is None or not spec.submodule_search_locations:
        raise PluginLoadError(
            f"{_label(point)} names the package {point.value!r}, which is not there",
            hint=f"install {_label(point)} again",
        )
    return Path(spec.submodule_search_locations[0])


def _label(point: EntryPoint) -> str:
    return point.name if point.dist is None else f"{point.dist.name} {point.dist.version}"
