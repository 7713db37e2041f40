"""The help text of `astrid` itself, without the parser: people ask for it first and most.

A test compares it with what the parser would say, which is where its options come from.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from astrid_core.cli.command_table import BUILT_IN, LazyCommand
from astrid_core.cli.output import Output, use
from astrid_core.cli.plugin_commands import plugin_help

ABOUT: Final = "Run untrusted components and MCP servers with exactly the rights you gave them."
EPILOG: Final = """\
Exit status: 0 done; 1 failed, not found or denied; 2 wrong arguments; 3 not running; 4 not healthy;
5 an approval was denied; 6 an answer is needed and nobody can be asked; 7 a hash, signature or the
audit chain does not match; 130 interrupted.
"""
_OPTIONS: Final = (
    ("-V, --version", "Show the version and exit."),
    ("--principal NAME", "Act as this agent for one command."),
    ("--json", "Same as --format json."),
    ("--format <pretty|json>", "How to print results."),
    ("-v, --verbose", "Log more."),
    ("-h, --help", "Show this message and exit."),
)
_LEAST_WIDTH: Final = 50
_MOST_WIDTH: Final = 78
_GAP: Final = 2


def print_help(_arguments: Sequence[str] = ()) -> int:
    """Print the help text; returns the exit status."""
    with use(Output()):
        sys.stdout.write(help_text(BUILT_IN) + "\n")
    return 0


def help_text(built_in: Mapping[str, LazyCommand]) -> str:
    """The text, as wide as the terminal but no wider than people read.

    Args:
        built_in: Commands by name, in the order of the text; those of plugins come after them.
    """
    width = max(min(_terminal_columns() - 2, _MOST_WIDTH), _LEAST_WIDTH)
    lines = [(name, lazy.help) for name, lazy in built_in.items()]
    lines += [item for item in plugin_help().items() if item[0] not in built_in]
    parts = [
        "Usage: astrid [OPTIONS] COMMAND [ARGS]...",
        _paragraph(ABOUT, width),
        _section("Options", _OPTIONS, width),
        _section("Commands", lines, width),
        _paragraph(EPILOG, width),
    ]
    return "\n\n".join(parts)


def _paragraph(text: str, width: int) -> str:
    return textwrap.fill(" ".join(text.split()), width, initial_indent="  ", subsequent_indent="  ")


def _section(title: str, rows: Iterable[tuple[str, str]], width: int) -> str:
    listed = list(rows)
    column = max(len(name) for name, _ in listed) + _GAP + 2
    lines = [f"{title}:"]
    for name, text in listed:
        wrapped = textwrap.wrap(text, width - column) or [""]
        lines.append(f"  {name}".ljust(column) + wrapped[0])
        lines += [" " * column + more for more in wrapped[1:]]
    return "\n".join(lines)


def _terminal_columns() -> int:
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and int(given[:6]) > 0:
        return int(given[:6])
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns if sys.__stdout__ else 80
    except (OSError, ValueError):
        return 80
