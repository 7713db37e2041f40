"""`astrid call`: one tool call by way of the daemon, which is started when there is none."""

from __future__ import annotations

from typing import Annotated

import typer

from astrid_core.cli.consent_options import (
    ApproveAllOption,
    ApproveOption,
    WaitOption,
    consent_of,
)
from astrid_core.cli.fast_call import call_tool
from astrid_core.cli.output import describe


@describe(example="""astrid call weather.hello '{"name": "Ada"}'""")
def call(
    tool: Annotated[str, typer.Argument(help="Capsule and tool, as in weather.hello.")],
    arguments: Annotated[str, typer.Argument(metavar="JSON", help="A JSON object.")] = "{}",
    *,
    principal: Annotated[
        str | None, typer.Option("--principal", help="On whose behalf, if not the acting agent's.")
    ] = None,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", min=0.001, help="Give up after this many seconds.")
    ] = None,
    yes: ApproveAllOption = False,
    approve: ApproveOption = None,
    wait: WaitOption = False,
) -> int:
    """Call a tool and print its answer; the quickest way from a shell.

    Without a daemon, one is started that ends by itself soon after nobody needs it any more. What
    the tool asks permission for is asked on the terminal; without one the tool is told that nobody
    answers, and `astrid approvals` allows it for the next try.
    """
    consent = consent_of(yes=yes, approve=approve, wait=wait)
    return call_tool(tool, arguments, principal=principal, timeout_s=timeout_s, consent=consent)
