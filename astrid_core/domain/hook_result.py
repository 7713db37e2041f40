"""What a guest's answer means to the chain of interceptors that asked it.

Trusted with reading a refusal as a refusal: only `deny` and `abort`, compared exactly, refuse, and
everything that is not known continues, as guests of every age expect. An answer may be as large as
a guest's memory: what goes on from here is no larger than a message.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

from astrid_core.domain.payload import MAX_PAYLOAD_BYTES
from astrid_hookspecs.errors import EngineError

DEFAULT_REASON: Final = "denied by interceptor"
MAX_REASON: Final = 1024
"""Characters."""
_CUT_MARK: Final = "..."

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

    Raises:
        EngineError: `engine.answer-too-large`: it does not refuse, and has more than 1 MiB.

    Spec: capsules-and-bus 7.3, host-abi 16.6.
    """
    if action in ("deny", "abort"):
        return _denied(data or "")
    effect = Effect.FINAL if action == "final" else Effect.CONTINUE
    # The character count bounds the byte count from below, so hostile text is not encoded first.
    content = _checked((data or "")[: MAX_PAYLOAD_BYTES + 1].encode(errors="replace"))
    return Outcome(effect, content) if content or effect is Effect.FINAL else _UNCHANGED


def outcome_of_bytes(raw: bytes) -> Outcome:
    """Read the byte form that old guests return: one byte for the action, then the data.

    Raises:
        EngineError: As `outcome_of_record`.

    Spec: capsules-and-bus 7.3, legacy byte form.
    """
    if not raw:
        return _UNCHANGED
    if raw[0] == _LEGACY_DENY:
        return _denied(raw[1 : MAX_REASON * 4].decode(errors="replace"))
    if raw[0] == _LEGACY_CONTINUE:
        return Outcome(Effect.CONTINUE, _checked(raw[1:]))
    if raw[0] == _LEGACY_FINAL:
        return Outcome(Effect.FINAL, _checked(raw[1:]))
    return Outcome(Effect.CONTINUE, _checked(raw))


def _denied(reason: str) -> Outcome:
    if len(reason) > MAX_REASON:
        reason = reason[: MAX_REASON - len(_CUT_MARK)] + _CUT_MARK
    return Outcome(Effect.DENY, reason=reason or DEFAULT_REASON)


def _checked(data: bytes) -> bytes:
    if len(data) > MAX_PAYLOAD_BYTES:
        raise EngineError(
            f"the answer of an interceptor has more than {MAX_PAYLOAD_BYTES} bytes",
            code="engine.answer-too-large",
            hint="answer with a path or a key instead of the content",
        )
    return data
