"""`astrid demo`: the main job on real input, each step checked, on a home of its own."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import appdirs
import typer

from astrid_core.cli.demo_files import Target, check_target
from astrid_core.cli.demo_steps import STEPS, Stage
from astrid_core.cli.output import Output, current, describe
from astrid_core.kernel.build import built
from astrid_core.kernel.home import Home
from astrid_core.kernel.kernel import Kernel
from astrid_core.pluginhost import PluginHost
from astrid_hookspecs.builders import BuildResult
from astrid_hookspecs.errors import AstridError, CapsuleError
from astrid_hookspecs.exits import EXIT_OK, EXIT_RUNTIME

_STATE: Final = ("home", "var", "etc", "log")
"""What the next demo starts without; keys, components and compiled code stay."""

_STAGES: Final = ("folder", "build", "boot", *(step.name for step in STEPS))

_CLOSING: Final = """
That was real: a component without ambient authority, on your files, under rules it could not bend.
{ending}
  astrid capsule new my-capsule     write your own; a tool is a Python function with type hints
  astrid plugins list               everything here that can be replaced with pip
  docs/tutorial.md                  the next ten minutes
"""


_UNTOUCHED: Final = "Your folder is as it was; 'astrid demo --commit' would have written the edits."
_COMMITTED: Final = "The edits are in your folder now, because you said --commit."


@dataclass(frozen=True, slots=True)
class Report:
    """One step and how it went."""

    name: str
    ok: bool
    detail: str
    ms: float


@describe(example="astrid demo --json")
def demo(
    path: Annotated[
        Path, typer.Argument(help="Folder whose text files are read and edited in an overlay.")
    ] = Path(),
    *,
    commit: Annotated[
        bool, typer.Option("--commit", help="Write the capsule's edits into the folder at the end.")
    ] = False,
) -> None:
    """Build a capsule, run it on your files, and see what the kernel allows and refuses.

    The capsule edits its own view of the folder; nothing in the folder changes without --commit.
    Works on a kernel and a home of its own in the cache directory; your runtime home is left alone.
    The first run builds and compiles, which takes about half a minute.
    """
    output = current()
    log = _Log(output, [], time.perf_counter())
    with ExitStack() as stack:
        try:
            target = check_target(path)
            log.succeed("folder", f"the folder is {target.folder}", [])
            capsules = _built(stack, output=output)
            origins = [f"{name}: {_origin(built)}" for name, built in capsules.items()]
            log.succeed("build", "three capsules, one in Python, two by hand", origins)
            asyncio.run(_run(target, capsules, log=log, commit=commit))
        except AstridError as error:
            log.fail(_STAGES[len(log.reports)], error)
    ok = all(report.ok for report in log.reports)
    closing = _CLOSING.format(ending=_COMMITTED if commit else _UNTOUCHED)
    output.result({"ok": ok, "steps": log.reports}, text=closing if ok else "")
    raise typer.Exit(EXIT_OK if ok else EXIT_RUNTIME)


def _built(stack: ExitStack, *, output: Output) -> dict[str, BuildResult]:
    """Build the capsules, on the main thread, where an interrupt ends the tool chain at once."""
    sources = _capsule_sources()
    registry = PluginHost.open(boot=False).registry
    with output.progress() as progress:
        return {
            name: stack.enter_context(built(registry, sources / name, progress=progress))
            for name in ("field-notes", "tally", "spinner")
        }


def _origin(built: BuildResult) -> str:
    return "from the build cache" if built.from_cache else "built now"


async def _run(
    target: Target, capsules: Mapping[str, BuildResult], *, log: _Log, commit: bool
) -> None:
    home = await asyncio.to_thread(_fresh_home)
    async with Kernel.open(home=home, workspace=target.folder) as kernel:
        log.succeed("boot", "an empty kernel runs", ["it can do nothing yet"])
        stage = Stage(kernel, capsules, target, home, log.output, commit=commit)
        for step in STEPS:
            log.succeed(step.name, step.title, await step.run(stage))


@dataclass(slots=True)
class _Log:
    """Prints each step as it ends and keeps its report."""

    output: Output
    reports: list[Report]
    started: float

    def succeed(self, name: str, title: str, lines: Sequence[str]) -> None:
        elapsed = self._lap()
        self.reports.append(Report(name, True, "; ".join(lines), round(elapsed * 1000, 1)))
        self.output.success(f"{title} ({elapsed:.2f} s)")
        for line in lines:
            self.output.detail(line)

    def fail(self, name: str, error: AstridError) -> None:
        detail = f"{error.code}: {error.message}"
        self.reports.append(Report(name, False, detail, round(self._lap() * 1000, 1)))
        self.output.error(error.message, hint=error.hint)

    def _lap(self) -> float:
        now = time.perf_counter()
        elapsed, self.started = now - self.started, now
        return elapsed


def _fresh_home() -> Path:
    """A home without state, in the cache directory, so that compiled code is found again.

    Raises:
        HomeLockedError: Another demo is running.
    """
    path = Path(appdirs.user_cache_dir("astrid")) / "demo"
    home = Home.open(path)
    lock = home.lock()
    try:
        for name in _STATE:
            shutil.rmtree(path / name, ignore_errors=True)
    finally:
        lock.close()
    return path


def _capsule_sources() -> Path:
    """Sources of the demo's capsules: beside this module in a wheel, else in the repository.

    Raises:
        CapsuleError: `demo.no-capsules`.
    """
    here = Path(__file__).resolve()
    for candidate in (here.parent / "demo_capsules", here.parents[2] / "examples" / "capsules"):
        if (candidate / "field-notes" / "Capsule.toml").is_file():
            return candidate
    raise CapsuleError(
        "the demo's capsules are not part of this installation", code="demo.no-capsules"
    )
