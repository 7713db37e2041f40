"""The steps of `astrid demo`. Each does one thing on a real kernel and checks that it happened."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from astrid_core.cli.demo_files import TextFile
from astrid_core.cli.output import Output
from astrid_core.kernel.kernel import Kernel
from astrid_hookspecs.builders import BuildResult
from astrid_hookspecs.errors import AstridError, GuestTimeoutError

FORBIDDEN_TOPIC: Final = "astrid.v1.admin.agent.create"
IMPATIENT: Final = "impatient"
_SETTLE_S: Final = 5.0


class DemoError(AstridError):
    """A step of the demo did not do what it says."""

    default_code = "demo.failed"


@dataclass(slots=True)
class Stage:
    """What the steps share.

    Attributes:
        kernel: Running, on a home of its own.
        capsules: The demo's capsules, built, by name.
        files: What the person wants read.
        home: The kernel's home.
        output: Shows progress while building and compiling.
    """

    kernel: Kernel
    capsules: Mapping[str, BuildResult]
    files: Sequence[TextFile]
    home: Path
    output: Output


class Step(NamedTuple):
    """A step: its name for programs, its title for people, and the work, which returns details."""

    name: str
    title: str
    run: Callable[[Stage], Awaitable[Sequence[str]]]


def _expect(condition: object, problem: str) -> None:
    if not condition:
        raise DemoError(problem)


async def _install(stage: Stage, name: str) -> list[str]:
    kernel = stage.kernel
    with (
        stage.output.progress() as progress,
        kernel.stage(stage.capsules[name].directory) as staged,
    ):
        asks = [request.sentence for request in staged.consent.requests]
        result = await kernel.install(staged, progress=progress)
    component = result.capsule.component
    size = component.stat().st_size if component is not None else 0
    rights = _first(asks, 3) or ["- nothing at all"]
    return [f"{name}: {_bytes(size)} of WebAssembly; it asks for", *rights]


async def install_notes(stage: Stage) -> Sequence[str]:
    """Compile and install the Python capsule."""
    return await _install(stage, "field-notes")


async def install_others(stage: Stage) -> Sequence[str]:
    """Install the two capsules written in WebAssembly text."""
    return [*await _install(stage, "tally"), *await _install(stage, "spinner")]


async def read_files(stage: Stage) -> Sequence[str]:
    """Hand each text file to the capsule, which cannot open files itself."""
    slowest = 0.0
    for file in stage.files:
        result = await stage.kernel.call_tool(
            "ingest", {"name": file.name[-200:], "text": file.text}
        )
        _expect(not result.is_error, f"{file.name} was not read: {result.content}")
        slowest = max(slowest, result.duration_ms)
    size = sum(len(file.text.encode()) for file in stage.files)
    return [f"{len(stage.files)} files, {_bytes(size)}; the slowest took {slowest:.0f} ms"]


async def summarise(stage: Stage) -> Sequence[str]:
    """Ask for an overview and for one word."""
    summary = (await stage.kernel.call_tool("summary")).json()
    _expect(summary["files"] == len(stage.files), "the summary misses files")
    top = [str(word) for word, _ in summary["top_terms"][:5]]
    words, minutes = summary["words"], summary["reading_minutes"]
    lines = [
        f"{words} words, {minutes} minutes to read, {summary['open_markers']} open markers",
        f"about: {', '.join(top)}",
    ]
    if top:
        hits = (await stage.kernel.call_tool("search", {"query": top[0], "limit": 2})).json()
        _expect(hits, f"searching for {top[0]!r} found nothing")
        lines += [f"{top[0]!r} in {hit['name']}: {hit['snippet']}" for hit in hits]
    return lines


async def intercept(stage: Stage) -> Sequence[str]:
    """See that the second capsule counted the first one's events."""
    expected = str(len(stage.files)).encode()
    counted: bytes | None = None
    for _ in range(int(_SETTLE_S / 0.01)):
        counted = stage.kernel.read_state("tally", "count")
        if counted == expected:
            break
        await asyncio.sleep(0.01)
    _expect(counted == expected, f"tally counted {counted!r} of {expected!r} events")
    return [f"field-notes published {len(stage.files)} events; tally counted {int(expected)}"]


async def refuse(stage: Stage) -> Sequence[str]:
    """Let the capsule try something its manifest does not allow."""
    answer = await stage.kernel.call_tool("leak", {"topic": FORBIDDEN_TOPIC})
    refusals = [event for event in stage.kernel.denials() if event.resource == FORBIDDEN_TOPIC]
    _expect(refusals, f"publishing on {FORBIDDEN_TOPIC} was not refused")
    return [
        f"field-notes tried to publish on {FORBIDDEN_TOPIC}",
        f"refused by rule {refusals[-1].rule!r}; the capsule was told: {answer.content}",
    ]


async def isolate(stage: Stage) -> Sequence[str]:
    """Call the same tool as somebody else."""
    other = (await stage.kernel.call_tool("summary", principal="someone-else")).json()
    _expect(other["files"] == 0, "another principal saw the notes")
    return [
        "principal 'someone-else' asks the same capsule and sees 0 files: own memory, own state"
    ]


async def stop_runaway(stage: Stage) -> Sequence[str]:
    """Call a capsule that never returns, as a principal with a limit of one second."""
    profile = stage.home / "etc" / "profiles" / f"{IMPATIENT}.toml"
    await asyncio.to_thread(profile.write_text, "[quotas]\nmax_timeout_secs = 1\n")
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        await stage.kernel.call_tool("spin", principal=IMPATIENT)
    except GuestTimeoutError as error:
        elapsed = loop.time() - started
        again = await stage.kernel.call_tool("summary")
        _expect(not again.is_error, "the next call failed")
        return [
            f"an endless loop was stopped after {elapsed:.2f} s: {error.message}",
            f"everybody else goes on; the next call took {again.duration_ms:.1f} ms",
        ]
    raise DemoError("the endless loop came back")


STEPS: Final = (
    Step("install-notes", "a capsule written in Python is compiled and installed", install_notes),
    Step("install-others", "two more, written by hand in WebAssembly text", install_others),
    Step("read", "your files are read", read_files),
    Step("ask", "and understood", summarise),
    Step("intercept", "capsules work together through events", intercept),
    Step("refuse", "what was not granted is refused", refuse),
    Step("isolate", "principals do not see each other", isolate),
    Step("stop", "what runs away is stopped", stop_runaway),
)


def _first(lines: Sequence[str], count: int) -> list[str]:
    rest = len(lines) - count
    shown = [f"- {line}" for line in lines[:count]]
    return [*shown, f"- and {rest} more"] if rest > 0 else shown


def _bytes(size: int) -> str:
    for unit, factor in (("MiB", 1024 * 1024), ("KiB", 1024)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
