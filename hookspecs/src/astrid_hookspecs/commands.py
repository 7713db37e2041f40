"""Command groups that plugins add to `astrid`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from astrid_hookspecs.engines import Progress
from astrid_hookspecs.markers import hookspec


class CommandOutput(Protocol):
    """Prints by the conventions of the command line; honours `--json` and `--format`."""

    @property
    def is_json(self) -> bool:
        """Whether results are printed as JSON."""
        ...

    def result(self, value: object, *, text: str | Callable[[], str] | None = None) -> None:
        """Print the result on stdout: `value` as JSON, `text` for people."""
        ...

    def success(self, message: str) -> None:
        """A success line on stdout; nothing under JSON."""
        ...

    def info(self, message: str) -> None:
        """An information line on stderr; nothing under JSON."""
        ...

    def warning(self, message: str) -> None:
        """A warning line on stderr."""
        ...

    def progress(self) -> AbstractContextManager[Progress]:
        """A progress display on stderr while the block runs."""
        ...


class CommandContext(Protocol):
    """What a plugin's command finds in `ctx.obj` of its `typer.Context`."""

    @property
    def output(self) -> CommandOutput:
        """The only way to print."""
        ...

    def enabled_plugins(self) -> tuple[str, ...]:
        """Entry-point names that may be loaded, ascending; loads nothing."""
        ...


@dataclass(frozen=True, slots=True)
class CommandGroupRecord:
    """Declares `astrid <name>` or, with a dot, `astrid <group> <name>`.

    Attributes:
        name: `mcp`, or `plugins.check` to add one command to an existing group.
        help: One line for `astrid --help`.
        factory: Returns a `typer.Typer` for a group, or a plain function for a single command;
            heavy imports wait for it. The command may return an exit status; an `AstridError`
            it raises is printed like the kernel's own.
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
