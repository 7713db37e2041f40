"""What commands share: the home, its settings, the plugins it allows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from astrid_core.cli.output import Output
from astrid_core.kernel.home_path import resolve_home

if TYPE_CHECKING:
    from astrid_core.config import Settings
    from astrid_core.pluginhost import AllowList


def home_path() -> Path:
    """The runtime home of this process; nothing is created.

    Raises:
        ConfigError: `home.path`.
    """
    return resolve_home(os.environ)


def settings() -> Settings:
    """The settings of this home, without those of a workspace.

    Raises:
        ConfigError: The home or the file is malformed.
        PluginError: A distribution build is broken.
    """
    # Few commands need them.
    from astrid_core.config import load_layers  # noqa: PLC0415
    from astrid_core.pluginhost.distribution import bundled_settings  # noqa: PLC0415

    return load_layers(home_path(), bundled=bundled_settings(), environ=os.environ).settings


def allow_list_path() -> Path:
    """Where the allow-list of plugins is, or would be."""
    return home_path() / "etc" / "plugins.toml"


def allow_list() -> AllowList:
    """The allow-list in `etc/plugins.toml`, or that of a distribution build.

    Raises:
        ConfigError: The home or the file is malformed.
        PluginError: A distribution build is broken.
    """
    # They load stevedore.
    from astrid_core.pluginhost import load_allow_list  # noqa: PLC0415
    from astrid_core.pluginhost.distribution import bundled_allow_list  # noqa: PLC0415

    return load_allow_list(allow_list_path(), bundled=bundled_allow_list())


def import_plugins() -> None:
    """Import the allowed plugins on this thread, the main one, before a kernel does on another.

    Ctrl-C ends an import that hangs only here: nobody can interrupt another thread, and the
    process would wait for it at its end.

    Raises:
        ConfigError, PluginError: As a kernel's start.
    """
    from astrid_core.cli.signals import interruptible  # noqa: PLC0415
    from astrid_core.pluginhost.discovery import find_plugins, load_plugins  # noqa: PLC0415

    allowed = allow_list()
    found = find_plugins()
    with interruptible():
        load_plugins(found, names=allowed.chosen(plugin.source.name for plugin in found))


class CliContext(NamedTuple):
    """`ctx.obj` of every command; a `CommandContext` of the hook contract.

    Attributes:
        output: The only way to print.
    """

    output: Output

    def enabled_plugins(self) -> tuple[str, ...]:
        """Entry-point names that may be loaded, ascending; loads nothing.

        Raises:
            ConfigError: The home or the allow-list is malformed.
            PluginError: Two distributions use one plugin name.
        """
        from astrid_core.pluginhost.discovery import find_plugins  # noqa: PLC0415

        allowed = allow_list()
        names = [plugin.source.name for plugin in find_plugins()]
        return tuple(name for name in names if allowed.allows(name))
