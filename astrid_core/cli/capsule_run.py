"""`astrid capsule run`: one call, by a daemon if there is one, else by a kernel in this process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from astrid_core.cli.attended import attending
from astrid_core.cli.call_questions import Consent, ask_before
from astrid_core.cli.capsule_configure import ask_first_here
from astrid_core.cli.capsule_session import kernel_here, workspace
from astrid_core.cli.consent_options import (
    ApproveAllOption,
    ApproveOption,
    WaitOption,
    consent_of,
)
from astrid_core.cli.output import describe
from astrid_core.cli.tool_call import (
    ToolCall,
    acting_as,
    ask_daemon,
    explain_absence,
    parse_arguments,
    running_daemon,
    show_answer,
    warn_of_other_workspace,
)
from astrid_hookspecs.errors import ToolNotFoundError

if TYPE_CHECKING:
    from astrid_core.kernel.tools import ToolResult


@describe(example="""astrid capsule run weather hello --args '{"name": "Ada"}'""")
def run_tool(
    name: Annotated[str, typer.Argument(help="Capsule name.")],
    tool: Annotated[str, typer.Argument(help="Name of the tool.")],
    *,
    arguments: Annotated[
        str, typer.Option("--args", metavar="JSON", help="Arguments as a JSON object.")
    ] = "{}",
    principal: Annotated[
        str | None, typer.Option("--principal", help="On whose behalf, if not the acting agent's.")
    ] = None,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", min=0.001, help="Give up after this many seconds.")
    ] = None,
    yes: ApproveAllOption = False,
    approve: ApproveOption = None,
    wait: WaitOption = False,
) -> None:
    """Call one tool of an installed capsule and print its answer.

    The running daemon is asked; where there is none, a kernel runs in this process for the duration
    of the call. With --json the answer itself is printed as JSON. What the tool asks permission for
    is asked on the terminal; without one the tool is told that nobody answers, and
    `astrid approvals` allows it for the next try.
    """
    consent = consent_of(yes=yes, approve=approve, wait=wait)
    call = ToolCall(f"{name}.{tool}", parse_arguments(arguments), acting_as(principal))
    client = running_daemon(call.principal)
    if client is None:
        result = asyncio.run(_call(call, timeout_s=timeout_s, consent=consent))
        show_answer(call, content=result.content, is_error=result.is_error)
        return
    with client:
        warn_of_other_workspace(client, workspace())
        ask_before(client, name)
        answer = ask_daemon(client, call, timeout_s=timeout_s, consent=consent)
    show_answer(call, content=str(answer["content"]), is_error=bool(answer["is_error"]))


async def _call(call: ToolCall, *, timeout_s: float | None, consent: Consent) -> ToolResult:
    async with kernel_here() as kernel:
        for problem in kernel.problems:
            if call.name.startswith(f"{problem.capsule}."):
                raise problem.error
        await ask_first_here(kernel, call.name.partition(".")[0])
        async with attending(kernel, call.principal, consent):
            try:
                return await kernel.call_tool(
                    call.name, call.arguments, principal=call.principal, timeout_s=timeout_s
                )
            except ToolNotFoundError:
                explain_absence(call, ((one.capsule, one.error) for one in kernel.problems))
                raise
