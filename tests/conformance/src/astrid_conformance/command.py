"""`astrid plugins check [NAME]`."""

from __future__ import annotations

from typing import Annotated

import typer

from astrid_conformance.report import to_text
from astrid_conformance.runner import check_plugin, installed_plugins
from astrid_hookspecs.commands import CommandContext
from astrid_hookspecs.errors import PluginLoadError


def check(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="Plugin to check; every enabled one without it.")
    ] = None,
    *,
    support: Annotated[
        list[str] | None,
        typer.Option("--support", help="Also check this optional capability (repeatable)."),
    ] = None,
    passed: Annotated[
        bool, typer.Option("--all", help="List the checks that passed, too.")
    ] = False,
) -> int:
    """Run the conformance kit against a plugin.

    Ends with 1 when a required check fails, or an optional one whose capability is claimed.
    """
    command: CommandContext = context.obj
    enabled = command.enabled_plugins()
    if name is not None and name not in enabled and name in installed_plugins():
        raise PluginLoadError(
            f"the plugin {name!r} is disabled, and checking it would import it",
            code="plugin.disabled",
            hint=f"allow it with 'astrid plugins enable {name}', "
            f"or run 'python -m astrid_conformance {name}', which asks no list",
        )
    names = enabled if name is None else (name,)
    with command.output.progress() as progress:
        reports = [
            report
            for each in names
            for report in check_plugin(each, supports=support or (), progress=progress)
        ]
    value = [report.to_json() for report in reports]
    text = to_text(reports, verbose=passed) or "nothing to check: no kind with checks is supplied"
    command.output.result(value, text=text)
    return 0 if all(report.conforms for report in reports) else 1


check.__dict__["astrid_command"] = {
    "example": "astrid plugins check core",
    "structured": True,
    "needs_daemon": False,
}
