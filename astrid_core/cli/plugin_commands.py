"""The commands that plugins add, found without the parser."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from astrid_core.cli.command_table import BUILT_IN
from astrid_core.cli.context import allow_list
from astrid_core.cli.output import current
from astrid_hookspecs.errors import AstridError, PluginConflictError

if TYPE_CHECKING:
    from astrid_core.pluginhost.registry import Registered
    from astrid_hookspecs.commands import CommandGroupRecord


@cache
def plugin_commands() -> dict[str, Registered[CommandGroupRecord]]:
    """The commands of the allowed plugins, by dotted name.

    Raises:
        PluginError: A plugin cannot be used, or uses the name of a built-in command.
        ConfigError: The allow-list is malformed.
    """
    from astrid_core.pluginhost import PluginHost  # noqa: PLC0415 - loads stevedore and plugins
    from astrid_hookspecs.commands import CommandGroupRecord  # noqa: PLC0415 - loads pluggy

    host = PluginHost.open(allow_list(), boot=False)
    records: dict[str, Registered[CommandGroupRecord]] = {}
    for item in host.registry.registered(CommandGroupRecord):
        if item.record.name in BUILT_IN:
            raise PluginConflictError(
                f"{item.source.label} supplies the command {item.record.name!r}, which is built in",
                hint=item.source.disable_hint,
            )
        records[item.record.name] = item
    return records


def plugin_help(prefix: str = "") -> dict[str, str]:
    """Names and help lines of what plugins add at a place.

    A plugin that cannot be loaded costs its own commands, with a warning, but no help text.

    Args:
        prefix: `plugins.` for the commands below `plugins`; empty for the root.
    """
    try:
        records = plugin_commands()
    except AstridError as error:
        current().warning(f"commands of plugins are left out: {error}")
        return {}
    return {
        name.removeprefix(prefix): item.record.help
        for name, item in records.items()
        if name.startswith(prefix) and "." not in name.removeprefix(prefix)
    }
