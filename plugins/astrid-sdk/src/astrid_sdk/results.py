"""What an interceptor may answer.

Returning a plain value means `Continue(value)`; returning None lets the event pass unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Continue:
    """Let the event pass to the next handler, with a new payload unless `data` is None."""

    data: object = None


@dataclass(frozen=True, slots=True)
class Final:
    """Answer and stop: later handlers do not see the event."""

    data: object = None


@dataclass(frozen=True, slots=True)
class Deny:
    """Refuse and stop: later handlers do not see the event. `reason` is logged."""

    reason: str


Answer = Continue | Final | Deny
