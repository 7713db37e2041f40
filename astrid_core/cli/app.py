"""The root of the command line. Parses, hands over, reports; holds no rules."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

import typer
from typer.main import get_group

from astrid_core.cli.acting import choose, choosing
from astrid_core.cli.context import CliContext
from astrid_core.cli.errors import guarded
from astrid_core.cli.groups import NO_COMMAND, RootGroup, add_global_options
from astrid_core.cli.output import Output, current, use
from astrid_core.cli.root_help import ABOUT, EPILOG
from astrid_core.cli.signals import interrupted_by_signals
from astrid_core.cli.version import print_version


def run_app(arguments: Sequence[str]) -> int:
    """Parse and run one command line with the full parser.

    Args:
        arguments: Without the program name.

    Returns:
        The exit status.
    """
    # Nothing logs to the terminal by itself; `--verbose` adds a handler.
    os.environ.setdefault("LOGURU_AUTOINIT", "False")
    output = Output()

    def command() -> object:
        return root().main(
            list(arguments), prog_name="astrid", standalone_mode=False, obj=CliContext(output)
        )

    with use(output), choosing(), interrupted_by_signals() as status:
        return status(guarded(command, output=output, arguments=arguments))


@cache
def root() -> Any:
    """The parser's root group."""
    app = typer.Typer(
        name="astrid",
        cls=RootGroup,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        invoke_without_command=True,
        help=ABOUT,
        epilog=EPILOG,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_astrid)
    group = get_group(app)
    add_global_options(group)
    return group


def _show_version(value: bool) -> None:  # noqa: FBT001 - the parser's signature
    if value:
        raise typer.Exit(print_version(()))


def _astrid(
    context: typer.Context,
    *,
    version: Annotated[  # noqa: ARG001 - handled by its callback
        bool,
        typer.Option(
            "--version",
            "-V",
            help="Show the version and exit.",
            callback=_show_version,
            is_eager=True,
        ),
    ] = False,
    principal: Annotated[
        str | None,
        typer.Option("--principal", metavar="NAME", help="Act as this agent for one command."),
    ] = None,
) -> None:
    """Run untrusted components and MCP servers with exactly the rights you gave them."""
    choose(principal, command=context.invoked_subcommand)
    if context.invoked_subcommand is None:
        if current().is_json:
            context.fail(NO_COMMAND)
        typer.echo(context.get_help())
