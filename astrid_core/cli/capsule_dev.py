"""`astrid capsule dev`: a kernel that loads one project again after every change.

It serves clients as a daemon does, so that the tools can be called from another terminal.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from astrid_core.cli.attended import attending, entered
from astrid_core.cli.call_questions import Consent
from astrid_core.cli.capsule_answers import given_answers, keys_of, split_given
from astrid_core.cli.capsule_project import ProjectArgument, checked, not_a_directory
from astrid_core.cli.capsule_session import (
    YesOption,
    kernel_here,
    open_home,
    plugin_registry,
    workspace,
)
from astrid_core.cli.output import NeedsAnswerError, Output, current, describe
from astrid_core.cli.signals import interruptible
from astrid_core.domain.version import VERSION
from astrid_core.kernel.build import find_builder
from astrid_core.kernel.endable_report import EndableReport
from astrid_core.kernel.install.sources import Source
from astrid_hookspecs.errors import AstridError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, NIL_SOURCE

if TYPE_CHECKING:
    from astrid_core.daemon.daemon import Daemon
    from astrid_core.kernel.kernel import Kernel
    from astrid_core.pluginhost.registry import Registry
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
_FINAL: Final = {"capsule.cancelled", "capsule.declined", "capsule.no-builder", "secret.no-store"}
"""What no change of a file puts right, when nothing is loaded yet."""


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

    Its tools are called from another terminal, as those of a daemon: `astrid capsule run`. Calls
    and their answers are shown as they happen. A build that fails leaves the version before it
    running.
    """
    project = project.absolute()
    if not project.is_dir():
        raise not_a_directory(project)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_develop(project, yes=yes, pairs=variables or [], output=current()))


async def _develop(project: Path, *, yes: bool, pairs: list[str], output: Output) -> None:
    # Imported here, because they load everything.
    from astrid_core.daemon.daemon import Daemon  # noqa: PLC0415
    from astrid_core.daemon.run_files import RunFiles  # noqa: PLC0415

    files = RunFiles(open_home().run)
    files.check_path()
    here = workspace()
    async with kernel_here() as kernel:
        session = DevSession(kernel, project, yes=yes, pairs=pairs, output=output)
        daemon = Daemon(
            kernel, files, version=VERSION, session=NIL_SOURCE, ephemeral=False, workspace=here
        )
        watching = asyncio.create_task(_show_calls(kernel, output))
        try:
            await _serve(daemon, session)
        finally:
            watching.cancel()


async def _serve(daemon: Daemon, session: DevSession) -> None:
    """Do both until one ends: by an error, or because a client said `astrid stop`."""
    from astrid_core.daemon.idle import IdlePolicy  # noqa: PLC0415 - as above

    never = IdlePolicy(grace_s=0.0, period_s=0.0, timeout_s=None)
    both = asyncio.create_task(daemon.run(never)), asyncio.create_task(session.run())
    try:
        done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        daemon.stop("signal")
        both[1].cancel()
        await asyncio.wait(both)
        for task in both:
            if not task.cancelled():
                task.exception()  # or the loop reports that nobody looked


class DevSession:
    """Rebuilds and reloads one project."""

    def __init__(
        self, kernel: Kernel, project: Path, *, yes: bool, pairs: list[str], output: Output
    ) -> None:
        self._kernel = kernel
        self._project = project
        self._yes = yes
        self._pairs = pairs
        self._consent = Consent(values=dict(pair.split("=", 1) for pair in pairs if "=" in pair))
        self._output = output
        self._is_loaded = False

    @functools.cached_property
    def _registry(self) -> Registry:
        return plugin_registry()

    async def run(self) -> None:
        """Load now and after each change; ends only with its task, or when that is of no use.

        Raises:
            AstridError: The first version cannot be loaded, whatever is changed.
        """
        seen = take_snapshot(self._project)
        await self._try()
        while True:
            await asyncio.sleep(POLL_S)
            now = take_snapshot(self._project)
            if now == seen:
                continue
            changed = changed_files(seen, now)
            seen = now
            self._output.info(f"changed: {', '.join(changed[:3])}{' ...' * (len(changed) > 3)}")  # noqa: PLR2004 - layout
            await self._try()

    async def _try(self) -> None:
        """Load; what is wrong is said, and the next change tries again."""
        try:
            await self._load()
        except AstridError as error:
            if self._is_loaded:
                after = "the version before it keeps running"
            elif error.code in _FINAL or isinstance(error, NeedsAnswerError):
                raise
            else:
                after = "nothing is loaded yet; the next change tries again, Ctrl-C ends"
            self._output.error(str(error), hint=error.hint)
            self._output.info(after)

    async def _load(self) -> None:
        result = await self._install()
        capsule = result.capsule
        tools = [tool.name for tool in capsule.meta.tools]
        self._output.success(f"{capsule.id} {capsule.meta.version} is loaded ({result.outcome})")
        for tool in tools:
            self._output.info(f"  tool {capsule.id}.{tool}")
        if not self._is_loaded:
            self._is_loaded = True
            self._output.info(f"watching {self._project}; Ctrl-C ends")
            if tools:
                call = f"astrid capsule run {capsule.id} {tools[0]}"
                self._output.info(f"call its tools from another terminal: {call}")

    async def _install(self) -> Any:
        from astrid_core.cli.capsule_install import agree  # noqa: PLC0415 - a cycle otherwise

        output = self._output
        await self._check()
        with contextlib.ExitStack() as stack:
            with output.progress() as progress:
                report = EndableReport(progress, ending=KeyboardInterrupt)
                building = self._kernel.build(self._project, progress=report)
                built = await entered(building, report)
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
                # Only now: what a call asks later is asked where somebody has called.
                async with attending(self._kernel, DEFAULT_PRINCIPAL, self._consent):
                    return await self._kernel.install(staged, answers=values, progress=progress)

    async def _check(self) -> None:
        """Show what the builder finds wrong with the sources.

        Raises:
            CapsuleError: `capsule.check`: it found errors.
        """
        builder = find_builder(self._registry, self._project)
        if builder is not None:
            checked(await asyncio.to_thread(builder.check, self._project), output=self._output)


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
                output.info(call_line(envelope))
            await asyncio.sleep(POLL_S)
    finally:
        subscription.close()


def call_line(envelope: Envelope) -> str:
    """An answer of a tool, in one line."""
    tool = envelope.topic.removeprefix("tool.v1.execute.").removesuffix(".result")
    who = envelope.principal or "nobody"
    try:
        result = json.loads(envelope.payload)["result"]
        text, failed = str(result["content"]), bool(result["is_error"])
    except (ValueError, RecursionError, TypeError, KeyError):  # a capsule published it, as it likes
        text, failed = envelope.payload.decode("utf-8", "replace"), False
    return f"call {tool} for {who}{' failed' * failed}: {text[:200]}"
