"""`astrid commands`: every command, read from the parser itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup

from astrid_core.cli.output import current, describe


@describe(example="astrid commands")
def commands(context: typer.Context) -> None:
    """List every command with its flags, whether it has structured output, and an example."""
    output = current()
    root = context.find_root()
    leaves = sorted(_leaves(root.command, root), key=lambda leaf: leaf["command"])

    def table() -> str:
        return output.table(
            ("COMMAND", "JSON", "DAEMON", "EXAMPLE"),
            [
                (
                    leaf["command"],
                    "yes" if leaf["structured"] else "no",
                    "yes" if leaf["needs_daemon"] else "no",
                    leaf["example"],
                )
                for leaf in leaves
            ],
        )

    output.result(leaves, text=table)


def _leaves(command: Any, context: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(command, TyperGroup):
        yield _leaf(command, context)
        return
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        if below is not None and not below.hidden:
            yield from _leaves(below, type(context)(below, info_name=name, parent=context))


def _leaf(command: Any, context: Any) -> dict[str, Any]:
    facts = getattr(command.callback, "astrid_command", {})
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    return {
        "command": context.command_path,
        "help": command.get_short_help_str(200),
        "flags": [flag for option in options for flag in (*option.opts, *option.secondary_opts)],
        "arguments": [p.name for p in command.params if p.param_type_name == "argument"],
        "structured": facts.get("structured", False),
        "needs_daemon": facts.get("needs_daemon", False),
        "example": facts.get("example", context.command_path),
    }
