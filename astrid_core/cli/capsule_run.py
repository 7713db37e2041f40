"""`astrid capsule run` and `dev`: one call, by a daemon if there is one; a kernel while editing."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from astrid_core.cli.attended import attending
from astrid_core.cli.call_questions import Consent, ask_before
from astrid_core.cli.capsule_answers import given_answers, keys_of, split_given
from astrid_core.cli.capsule_configure import ask_first_here
from astrid_core.cli.capsule_project import ProjectArgument
from astrid_core.cli.capsule_session import YesOption, workspace
from astrid_core.cli.consent_options import (
    ApproveAllOption,
    ApproveOption,
    WaitOption,
    consent_of,
)
from astrid_core.cli.output import Output, current, describe, results_only
from astrid_core.cli.signals import interruptible
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
from astrid_core.kernel.install.sources import Source
from astrid_hookspecs.errors import AstridError, CapsuleError, ToolNotFoundError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL

if TYPE_CHECKING:
    from astrid_core.kernel.kernel import Kernel
    from astrid_core.kernel.tools import ToolResult
    from astrid_hookspecs.buses import Envelope

POLL_S: Final = 0.3
_IGNORED: Final = {
    ".astrid",
    ".git",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".venv",
    "__pycache__",
    "dist",
    "node_modules",
    "target",
}
_RESULTS: Final = "tool.v1.execute.*.result"

Snapshot = dict[str, tuple[int, int]]


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
    from astrid_core.kernel.kernel import Kernel  # noqa: PLC0415 - loads everything

    with results_only():
        async with Kernel.open(workspace=workspace()) as kernel:
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


@describe(example="astrid capsule dev ./weather", structured=False)
def develop(
    project: ProjectArgument = Path(),
    *,
    yes: YesOption = False,
    variables: Annotated[
        list[str] | None,
        typer.Option("--var", metavar="KEY=VALUE", help="Answer one question; repeatable."),
    ] = None,
) -> None:
    """Build and load a project, and again after every change, until Ctrl-C.

    Tool calls and their answers are shown as they happen. A build that fails leaves the version
    before it running.
    """
    project = project.absolute()
    if not project.is_dir():
        raise CapsuleError(f"{project} is not a directory", code="capsule.source")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_develop(project, yes=yes, pairs=variables or [], output=current()))


async def _develop(project: Path, *, yes: bool, pairs: list[str], output: Output) -> None:
    from astrid_core.kernel.kernel import Kernel  # noqa: PLC0415 - loads everything

    with results_only():
        async with Kernel.open(workspace=workspace()) as kernel:
            session = _DevSession(kernel, project, yes=yes, pairs=pairs, output=output)
            watching = asyncio.create_task(_show_calls(kernel, output))
            consent = Consent(values=dict(pair.split("=", 1) for pair in pairs if "=" in pair))
            try:
                async with attending(kernel, DEFAULT_PRINCIPAL, consent):
                    await session.run()
            finally:
                watching.cancel()


class _DevSession:
    """Rebuilds and reloads one project."""

    def __init__(
        self, kernel: Kernel, project: Path, *, yes: bool, pairs: list[str], output: Output
    ) -> None:
        self._kernel = kernel
        self._project = project
        self._yes = yes
        self._pairs = pairs
        self._output = output

    async def run(self) -> None:
        """Load now and after each change; ends only with its task."""
        seen = take_snapshot(self._project)
        await self._load()
        while True:
            await asyncio.sleep(POLL_S)
            now = take_snapshot(self._project)
            if now == seen:
                continue
            changed = changed_files(seen, now)
            seen = now
            self._output.info(f"changed: {', '.join(changed[:3])}{' ...' * (len(changed) > 3)}")  # noqa: PLR2004 - layout
            try:
                await self._load()
            except AstridError as error:
                self._output.error(str(error), hint=error.hint)
                self._output.info("the version before it keeps running")

    async def _load(self) -> None:
        result = await self._install()
        capsule = result.capsule
        tools = [f"{capsule.id}.{tool.name}" for tool in capsule.meta.tools]
        self._output.success(f"{capsule.id} {capsule.meta.version} is loaded ({result.outcome})")
        for tool in tools:
            self._output.info(f"  tool {tool}")

    async def _install(self) -> Any:
        from astrid_core.cli.capsule_install import agree  # noqa: PLC0415 - a cycle otherwise

        output = self._output
        with contextlib.ExitStack() as stack:
            with output.progress() as progress:
                building = self._kernel.build(self._project, progress=progress)
                built = await asyncio.to_thread(building.__enter__)
                stack.push(building.__exit__)
                staged = stack.enter_context(
                    self._kernel.stage(Source(built.directory, "directory"))
                )
            given = given_answers(
                keys_of(staged.manifest), pairs=self._pairs, file=None, environ=os.environ
            )
            for_env, _ = split_given(staged.manifest, given)
            with interruptible():
                answers = agree(staged, for_env, yes=self._yes, output=output)
            values: Mapping[str, str] = {**answers.settings, **answers.secrets}
            with output.progress() as progress:
                return await self._kernel.install(staged, answers=values, progress=progress)


def take_snapshot(project: Path) -> Snapshot:
    """Time and size of every file of a project that could matter to its build."""
    found: Snapshot = {}
    for directory, names, files in os.walk(project):
        names[:] = [name for name in names if name not in _IGNORED]
        for name in files:
            with contextlib.suppress(OSError):  # deleted since the directory was read
                path = Path(directory, name)
                status = path.stat()
                found[str(path.relative_to(project))] = (status.st_mtime_ns, status.st_size)
    return found


def changed_files(before: Snapshot, after: Snapshot) -> list[str]:
    """Names that were added, changed or removed, sorted."""
    return sorted({name for name, _ in set(before.items()) ^ set(after.items())})


async def _show_calls(kernel: Kernel, output: Output) -> None:
    """Print a line for each answer of a tool."""
    subscription = kernel.subscribe(_RESULTS)
    try:
        while True:
            for envelope in subscription.take(max_bytes=1 << 20).messages:
                output.info(_call_line(envelope))
            await asyncio.sleep(POLL_S)
    finally:
        subscription.close()


def _call_line(envelope: Envelope) -> str:
    tool = envelope.topic.removeprefix("tool.v1.execute.").removesuffix(".result")
    text = envelope.payload.decode("utf-8", "replace")
    return f"call {tool} for {envelope.principal or 'nobody'}: {text[:200]}"
