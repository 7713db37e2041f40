"""What a guest's answer means to the chain of interceptors that asked it.

Trusted with reading a refusal as a refusal: only `deny` and `abort`, compared exactly, refuse, and
everything that is not known continues, as guests of every age expect.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

DEFAULT_REASON: Final = "denied by interceptor"

_LEGACY_CONTINUE: Final = 0
_LEGACY_FINAL: Final = 1
_LEGACY_DENY: Final = 2


class Effect(enum.Enum):
    """What happens to the chain next."""

    CONTINUE = "continue"
    FINAL = "final"
    DENY = "deny"


class Outcome(NamedTuple):
    """One member's answer.

    Attributes:
        effect: What happens next.
        data: CONTINUE: the new payload, empty for "unchanged"; FINAL: the answer; DENY: empty.
        reason: Why it was refused; empty unless denied. The guest chose the words.
    """

    effect: Effect
    data: bytes = b""
    reason: str = ""


_UNCHANGED: Final = Outcome(Effect.CONTINUE)


def outcome_of_record(action: str, data: str | None) -> Outcome:
    """Read the `capsule-result` record that `astrid-hook-trigger` returned.

    Spec: capsules-and-bus 7.3, host-abi 16.6.
    """
    if action in ("deny", "abort"):
        return Outcome(Effect.DENY, reason=data or DEFAULT_REASON)
    if action == "final":
        return Outcome(Effect.FINAL, (data or "").encode(errors="replace"))
    return Outcome(Effect.CONTINUE, data.encode(errors="replace")) if data else _UNCHANGED


def outcome_of_bytes(raw: bytes) -> Outcome:
    """Read the byte form that old guests return: one byte for the action, then the data.

    Spec: capsules-and-bus 7.3, legacy byte form.
    """
    if not raw:
        return _UNCHANGED
    rest = raw[1:]
    if raw[0] == _LEGACY_CONTINUE:
        return Outcome(Effect.CONTINUE, rest)
    if raw[0] == _LEGACY_FINAL:
        return Outcome(Effect.FINAL, rest)
    if raw[0] == _LEGACY_DENY:
        return Outcome(Effect.DENY, reason=rest.decode(errors="replace") or DEFAULT_REASON)
    return Outcome(Effect.CONTINUE, raw)
