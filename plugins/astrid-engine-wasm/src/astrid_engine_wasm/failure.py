"""How a call into a guest can fail, before the engine says it in the kernel's words.

Trusted with nothing. wasmtime's C API reports component failures as text only, so the cause is read
from the last line of that text: everything above it is a backtrace in which a guest can write what
it likes, because it names its own functions.
"""

from __future__ import annotations

import enum


class Cause(enum.Enum):
    """Why guest code stopped."""

    TRAP = "trap"
    INTERRUPT = "interrupt"
    STACK = "stack"
    LIMIT = "limit"
    TOO_LARGE = "too-large"
    HOST = "host"
    DEAD = "dead"


_BY_ROOT = (
    ("wasm trap: interrupt", Cause.INTERRUPT),
    ("wasm trap: call stack exhausted", Cause.STACK),
    ("wasm trap: cannot enter component instance", Cause.DEAD),
    ("too much data is being copied", Cause.TOO_LARGE),
    ("memory minimum size", Cause.LIMIT),
    ("table minimum size", Cause.LIMIT),
    ("resource limit exceeded", Cause.LIMIT),
)


class GuestFailure(Exception):  # noqa: N818 - internal; the engine raises the errors people see
    """A call into a guest failed; the store behind it is unusable.

    Args:
        message: What happened, one line.
        trap_code: The cause; None when the runtime gave an error without one.
        detail: The runtime's full text with the backtrace, for the log.
    """

    def __init__(
        self, message: str, trap_code: Cause | None = None, *, detail: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.trap_code = trap_code
        self.detail = detail or message


def parse_failure(text: str) -> GuestFailure:
    """Read the cause from an error text of the runtime."""
    lines = text.rstrip().splitlines() or ["unknown failure"]
    root = lines[-1].strip()
    head, _, tail = root.partition(": ")
    if head.isdigit():
        root = tail
    fallback = Cause.TRAP if root.startswith("wasm trap: ") else None
    cause = next((cause for start, cause in _BY_ROOT if root.startswith(start)), fallback)
    return GuestFailure(root, cause, detail=text)
