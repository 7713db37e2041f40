"""The steps of `astrid demo`. Each does one thing on a real kernel and checks that it happened."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from astrid_core.cli.demo_files import Target
from astrid_core.cli.output import Output
from astrid_core.domain.audit_commit import LogKey
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.reader import Query, latest, verify_log
from astrid_core.kernel.home import Home
from astrid_core.kernel.kernel import Kernel
from astrid_hookspecs.builders import BuildResult
from astrid_hookspecs.errors import AstridError, GuestTimeoutError

FORBIDDEN_TOPIC: Final = "astrid.v1.admin.agent.create"
IMPATIENT: Final = "impatient"
REPORT: Final = "FIELD-NOTES.md"
MAX_FILES: Final = 40
ESCAPES: Final = {
    "../../../etc/passwd": "boundary-escape",
    "home://.config/env": "capability-denied",
    "tmp://x": "capability-denied",
}
"""Paths that the capsule must not read, and the error it has to get."""
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
        target: The kernel's workspace, and what the capsule is to read in it.
        home: The kernel's home.
        output: Shows progress while building and compiling.
        commit: Whether edits are written into the folder at the end.
        files: Paths of the text files that the capsule read.
        before: Content of the folder's files that were about to be edited, None for absent ones.
    """

    kernel: Kernel
    capsules: Mapping[str, BuildResult]
    target: Target
    home: Path
    output: Output
    commit: bool
    files: list[str] = field(default_factory=list)
    before: dict[str, bytes | None] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The kernel's workspace."""
        return self.target.folder


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
    """Let the capsule look around in the folder and read its text files."""
    answer = await stage.kernel.call_tool(
        "survey", {"path": stage.target.start, "limit": MAX_FILES}
    )
    _expect(not answer.is_error, f"the folder was not read: {answer.content}")
    stage.files = answer.json()
    if not stage.files:
        raise DemoError(
            f"there is no readable text file in {stage.folder}",
            code="demo.path",
            hint="give a folder with text files: astrid demo PATH",
        )
    shown = ", ".join(stage.files[:4]) + (", ..." if stage.files[4:] else "")
    seconds = answer.duration_ms / 1000
    return [f"field-notes listed it and read {len(stage.files)} files in {seconds:.1f} s", shown]


async def edit(stage: Stage) -> Sequence[str]:
    """Let the capsule write a report and tidy a file, and see the folder as it was."""
    edited = [REPORT, *stage.files]
    stage.before = await asyncio.to_thread(_contents, stage.folder, edited)
    answer = await stage.kernel.call_tool("write_report", {"path": REPORT})
    _expect(not answer.is_error, f"no report was written: {answer.content}")
    for path in stage.files:
        if (await stage.kernel.call_tool("tidy", {"path": path})).json():
            break
    changes = stage.kernel.changes()
    diffs = await asyncio.to_thread(lambda: list(changes.diff()))
    _expect(any(item.change.path == REPORT for item in diffs), "the report is no change")
    after = await asyncio.to_thread(_contents, stage.folder, edited)
    _expect(after == stage.before, "a file of the folder changed")
    lines = []
    for item in diffs:
        counts = Counter(line[:1] for line in item.lines[2:])
        size = f"+{counts['+']} -{counts['-']} lines"
        lines.append(f"{item.change.change} {item.change.path} ({size})")
        lines += [f"  {line}" for line in item.lines[2:8]]
    return [*lines, "all of it in an overlay of its own; no file of yours has changed"]


async def escape(stage: Stage) -> Sequence[str]:
    """Let the capsule try to read what is outside."""
    lines = []
    for path, case in ESCAPES.items():
        answer = await stage.kernel.call_tool("peek", {"path": path})
        _expect(answer.content.endswith(case), f"reading {path} was not refused: {answer.content}")
        lines.append(f"field-notes tried to read {path}: {answer.content}")
    return lines


async def settle(stage: Stage) -> Sequence[str]:
    """Write the edits into the folder where the person said so; forget them otherwise."""
    changes = stage.kernel.changes()
    if not stage.commit:
        forgotten = await asyncio.to_thread(changes.rollback)
        left = await asyncio.to_thread(changes.status)
        now = await asyncio.to_thread(_contents, stage.folder, [*stage.before])
        _expect(forgotten and not left and now == stage.before, "the edits were not forgotten")
        return [f"{len(forgotten)} edits forgotten; the folder was never touched"]
    report = await asyncio.to_thread(changes.commit)
    written = await asyncio.to_thread((stage.folder / REPORT).is_file)
    _expect(written and not report.conflicts and not report.failed, "the edits were not written")
    return [f"wrote {path}" for path in report.committed]


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


async def prove(stage: Stage) -> Sequence[str]:
    """Verify the audit log, and find the refusals in it."""
    places, key = (
        AuditPlaces(stage.home / "var" / "audit"),
        LogKey(Home.open(stage.home).runtime_key()),
    )
    verdicts = await asyncio.to_thread(verify_log, places, keys=[key.public], own=key)
    _expect(all(item.condition.is_sound for item in verdicts), "the audit log does not verify")
    denied = await asyncio.to_thread(latest, places, Query(outcome="denied"), limit=20)
    _expect(len(denied) > len(ESCAPES), "refusals are missing from the audit log")
    entries = sum(item.entries for item in verdicts)
    shown = [
        f"{row['action']['type']} {row['action']['resource']}: {row['authorization']['reason']}"
        for row in denied[:3]
    ]
    return [f"{entries} entries, hashed into chains and signed; {len(denied)} refusals", *shown]


STEPS: Final = (
    Step("install-notes", "a capsule written in Python is compiled and installed", install_notes),
    Step("install-others", "two more, written by hand in WebAssembly text", install_others),
    Step("read", "a capsule reads the folder you chose, and nothing else", read_files),
    Step("ask", "and understands it", summarise),
    Step("edit", "its edits stay off your disk", edit),
    Step("intercept", "capsules work together through events", intercept),
    Step("refuse", "what was not granted is refused", refuse),
    Step("escape", "no path leads out", escape),
    Step("isolate", "principals do not see each other", isolate),
    Step("stop", "what runs away is stopped", stop_runaway),
    Step("prove", "and all of it is on record", prove),
    Step("settle", "you decide what becomes of the edits", settle),
)


def _contents(folder: Path, paths: Sequence[str]) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    for path in paths:
        place = folder / path
        found[path] = place.read_bytes() if place.is_file() else None
    return found


def _first(lines: Sequence[str], count: int) -> list[str]:
    rest = len(lines) - count
    shown = [f"- {line}" for line in lines[:count]]
    return [*shown, f"- and {rest} more"] if rest > 0 else shown


def _bytes(size: int) -> str:
    for unit, factor in (("MiB", 1024 * 1024), ("KiB", 1024)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
