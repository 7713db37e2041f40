"""Command groups that plugins add to `astrid`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from astrid_hookspecs.markers import hookspec


@dataclass(frozen=True, slots=True)
class CommandGroupRecord:
    """Declares `astrid <name>` or, with a dot, `astrid <group> <name>`.

    Attributes:
        name: `mcp`, or `plugins.check` to add one command to an existing group.
        help: One line for `astrid --help`.
        factory: Returns a `typer.Typer` for a group, or a plain function for a single command;
            heavy imports wait for it.
    """

    name: str
    help: str
    factory: Callable[[], Any]


@hookspec
def astrid_register_commands() -> Iterable[CommandGroupRecord]:  # type: ignore[empty-body]
    """Declare command groups.

    Kind: declare. When: once, when the command line starts and the built-in commands do not match.
    Returns: records; names unique over all plugins and different from built-in ones.
    Failure: an exception or a malformed record stops the command.
    Since: 1.0.
    """
