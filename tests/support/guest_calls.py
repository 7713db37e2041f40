"""Which host functions real guests called in a test run, and how each call ended.

With `ASTRID_GUEST_CALLS=FILE` every process of a run of pytest adds to the file what is called
across the border between a component and the kernel. `python -m tests.support.guest_calls FILE`
then names the functions of the ABI that never gave a guest an answer, and those that a manifest
decides about and that were never refused; the status is 1 where there are any.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from astrid_core.host.registry import all_handlers
from astrid_engine_wasm import trampoline
from astrid_hookspecs.engines import WitError

ANSWERED: Final = "answered"
REFUSED: Final = "capability-denied"
DECIDED: Final = {
    "astrid:fs/host@1.0.0": ("fs-", "read-file", "write-file"),
    "astrid:http/host@1.0.0": ("http-",),
    "astrid:http/host@1.1.0": ("http-request", "http-stream", "[method]http-upload.finish"),
    "astrid:identity/host@1.0.0": ("",),
    "astrid:ipc/host@1.0.0": ("publish", "subscribe"),
    "astrid:net/host@1.0.0": ("bind", "connect", "lookup", "udp"),
    "astrid:process/host@1.0.0": ("spawn",),
    "astrid:uplink/host@1.0.0": ("",),
}
"""What the names of functions begin with that a manifest decides about; others act on what was
granted, or need no grant."""


def note_calls(path: Path) -> None:
    """Note every call of a guest in this process from now on."""
    ask: Any = trampoline._Handlers.__missing__
    seen: set[str] = set()

    def note(target: trampoline.Target, outcome: str) -> None:
        line = f"{target} {outcome}\n"
        if line not in seen:
            seen.add(line)
            with path.open("a") as file:
                file.write(line)

    def ask_noting(handlers: Any, target: trampoline.Target) -> Callable[..., Any]:
        handler = ask(handlers, target)

        def call(*arguments: object) -> object:
            try:
                value = handler(*arguments)
            except WitError as error:
                note(target, error.case)
                raise
            note(target, ANSWERED)
            return value

        handlers[target] = call
        return call

    trampoline._Handlers.__missing__ = ask_noting  # type: ignore[method-assign]


def outcomes(path: Path) -> Mapping[str, set[str]]:
    """How the calls of each function ended."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for line in path.read_text().splitlines():
        target, _, outcome = line.partition(" ")
        found[target].add(outcome)
    return found


def lacking(found: Mapping[str, set[str]]) -> list[str]:
    """What was not called as it should have been, a line each."""
    lines = []
    for interface, function in sorted(all_handlers()):
        ended = found.get(f"{interface}#{function}", set())
        if ANSWERED not in ended:
            lines.append(f"{interface}#{function}: no guest got an answer")
        if function.startswith(DECIDED.get(interface, ())) and REFUSED not in ended:
            lines.append(f"{interface}#{function}: no guest was refused")
    return lines


def main(path: Path) -> int:
    """Print what is lacking; returns the status."""
    lines = lacking(outcomes(path))
    total = len(all_handlers())
    summary = f"{total} host functions; {len(lines)} not called by guests as they should be"
    sys.stdout.write("".join(f"{line}\n" for line in [*lines, summary]))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
