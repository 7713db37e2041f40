"""The parser's groups: commands loaded on demand, commands of plugins, flags accepted everywhere.

`astrid --help` must not import what it does not run, so the root knows its commands by name and
help line only. Plugins are looked at when a name is unknown to the built-ins, or for a help text.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from astrid_core.cli.command_table import BUILT_IN
from astrid_core.cli.output import OutputFormat, current, log_to_stderr
from astrid_core.cli.plugin_commands import plugin_commands, plugin_help
from astrid_core.cli.root_help import help_text
from astrid_hookspecs.exits import EXIT_USAGE

if TYPE_CHECKING:
    from astrid_core.pluginhost.registry import Registered
    from astrid_hookspecs.commands import CommandGroupRecord

NO_COMMAND: Final = "Missing command"
"""Said, in the parser's own words, to a program that named a group only."""
_MOST_MEANT: Final = 3
_HELP_LINE: Final = 200
"""Longest help line of a command in a list; what does not fit goes on below."""


class ExtensibleGroup(TyperGroup):
    """A group that plugins can add commands to."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name: built in, else from a plugin, else None."""
        found = super().get_command(ctx, cmd_name)
        if found is not None or ctx.resilient_parsing or cmd_name.startswith("-"):
            return found
        item = plugin_commands().get(_dotted(ctx, cmd_name))
        if item is None:
            return None
        current().supplier = item.source.label
        command = to_command(_made(item), name=cmd_name, help_line=item.record.help)
        self.commands[cmd_name] = command
        return command

    def list_commands(self, ctx: Any) -> list[str]:
        """Every name, in the order of the help text: built-ins first, then those of plugins."""
        names = super().list_commands(ctx)
        names.extend(name for name in self.plugin_help(ctx) if name not in names)
        return names

    def plugin_help(self, ctx: Any) -> dict[str, str]:
        """Names and help lines of what plugins add here."""
        return plugin_help(_dotted(ctx, ""))

    def help_lines(self, ctx: Any, *, limit: int) -> list[tuple[str, str]]:
        """Each name with its help line, loading nothing that is not loaded.

        Args:
            ctx: The parser's context.
            limit: Longest help line.
        """
        lines = [
            (name, command.get_short_help_str(limit))
            for name, command in self.commands.items()
            if not command.hidden
        ]
        seen = {name for name, _ in lines}
        lines.extend(item for item in self.plugin_help(ctx).items() if item[0] not in seen)
        return lines

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the section of the help text that lists the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(self.help_lines(ctx, limit=_HELP_LINE))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As the base class; a group without a command shows its help, or says so in JSON."""
        if not args and not self.invoke_without_command and not ctx.resilient_parsing:
            if current().is_json:
                ctx.fail(NO_COMMAND)
            typer.echo(ctx.get_help(), err=True)
            raise typer.Exit(EXIT_USAGE)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As the base class, with a suggestion that knows lazy and plugin commands."""
        name = args[0]
        command = self.get_command(ctx, name)
        if command is None and not ctx.resilient_parsing and not name.startswith("-"):
            meant = " or ".join(repr(one) for one in self.meant(ctx, args))
            question = f"; did you mean {meant}?" if meant else ""
            ctx.fail(f"{ctx.command_path} has no command {name!r}{question}")
        return super().resolve_command(ctx, args)

    def meant(self, ctx: Any, args: list[str]) -> list[str]:
        """What somebody may have meant whose first word is no command."""
        return difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)


class RootGroup(ExtensibleGroup):
    """`astrid` itself: its commands are imported when they run."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """As the base class, after importing a built-in of that name."""
        lazy = BUILT_IN.get(cmd_name)
        if lazy is not None and cmd_name not in self.commands:
            self.commands[cmd_name] = to_command(lazy.load(), name=cmd_name, help_line=lazy.help)
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: Any) -> Any:
        """As the base class; says what was interrupted, which the parser would not pass on."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            for note in getattr(interrupt, "__notes__", ()):
                current().warning(note)
            raise

    def list_commands(self, ctx: Any) -> list[str]:
        """The built-ins, then what plugins add."""
        return [*BUILT_IN, *(name for name in self.plugin_help(ctx) if name not in BUILT_IN)]

    def meant(self, ctx: Any, args: list[str]) -> list[str]:
        """As the base class; else commands of that name one level down, the first three.

        The second word counts as well: `daemon start` may be `start` typed one level too low.
        """
        name, *rest = args
        close = super().meant(ctx, args)
        inside = [getattr(self.get_command(ctx, one), "commands", ()) for one in close]
        if rest and rest[0] in BUILT_IN and not any(rest[0] in commands for commands in inside):
            return [f"{ctx.command_path} {rest[0]}", *close]
        if close:
            return close
        below = [
            (command, f"{ctx.command_path} {group} {command}")
            for group in BUILT_IN
            for command in getattr(self.get_command(ctx, group), "commands", ())
        ]
        like = difflib.get_close_matches(name, sorted({command for command, _ in below}), n=1)
        return [path for command, path in below if command in like][:_MOST_MEANT]

    def get_help(self, ctx: Any) -> str:  # noqa: ARG002 - the parser's signature
        """The help text, from the table instead of the commands."""
        return help_text(BUILT_IN)


def _made(item: Registered[CommandGroupRecord]) -> Any:
    """What a plugin's factory makes of its command.

    Raises:
        PluginContractError: The factory called `exit()`, which would be the command's success.
    """
    try:
        return item.record.factory()
    except SystemExit as error:
        from astrid_core.pluginhost.source import plugin_failure  # noqa: PLC0415 - seldom needed

        name = item.record.name
        raise plugin_failure(item.source, f"could not make the command {name!r}", error) from error


def to_command(supplied: Any, *, name: str, help_line: str) -> TyperCommand | TyperGroup:
    """Make a parser command of what a module or a plugin supplies.

    Args:
        supplied: A `typer.Typer`, or a function for a single command.
        name: Its name on the command line.
        help_line: Used where it has no help text of its own.
    """
    if isinstance(supplied, typer.Typer):
        supplied.info.cls = ExtensibleGroup
        supplied.rich_markup_mode = None
        command: Any = get_group(supplied)
        command.help = command.help or help_line
    else:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name, help=None if supplied.__doc__ else help_line)(supplied)
        command = get_command(app)
    command.name = name
    add_global_options(command)
    return command  # type: ignore[no-any-return]


def add_global_options(command: Any) -> None:
    """Accept the flags of `astrid` on this command and everything below it.

    A command that has an option of the same name keeps its own. Spec: cli-and-ux 2.2.
    """
    taken = {flag for parameter in command.params for flag in parameter.opts}
    for option in _global_options():
        if not taken.intersection(option.opts):
            command.params.append(option)
    for below in getattr(command, "commands", {}).values():
        add_global_options(below)


def _dotted(ctx: Any, name: str) -> str:
    """`plugins.check` for `check` below `plugins`, the bare name at the root."""
    parts: list[str] = [name]
    while ctx.parent is not None:
        parts.insert(0, ctx.info_name or "")
        ctx = ctx.parent
    return ".".join(parts)


def _set_json(value: bool) -> None:  # noqa: FBT001 - the parser's signature
    if value:
        current().format = "json"


def _set_format(value: OutputFormat | None) -> None:
    if value is not None:
        current().format = value


def _set_verbose(value: bool) -> None:  # noqa: FBT001 - the parser's signature
    if value and not current().verbose:
        current().verbose = True
        log_to_stderr()


def _template(
    *,
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="Same as --format json.", callback=_set_json, expose_value=False
        ),
    ] = False,
    output_format: Annotated[
        OutputFormat | None,
        typer.Option(
            "--format", help="How to print results.", callback=_set_format, expose_value=False
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Log more.", callback=_set_verbose, expose_value=False
        ),
    ] = False,
) -> None:
    """Carries the options that every command accepts."""


@cache
def _global_options() -> Iterable[Any]:
    app = typer.Typer(add_completion=False)
    app.command()(_template)
    return tuple(get_command(app).params)
