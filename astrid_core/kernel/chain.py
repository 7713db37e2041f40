"""One event through a chain of interceptors: who is called, with what, and when it stops.

Trusted with the meaning of answers: a refusal or a final answer ends the chain, an error does not.
It decides nothing about permission; the capsules it calls check the caller themselves.

Spec: capsules-and-bus 7.2, 7.3, 7.4.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from loguru import logger

from astrid_core.domain.failure_text import failure_text
from astrid_core.domain.hook_result import Effect, Outcome, outcome_of_record
from astrid_hookspecs.buses import Envelope
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.engines import GuestResult
from astrid_hookspecs.errors import AstridError, CapsuleNotFoundError, UnsupportedActionError
from astrid_hookspecs.values import CapsuleId


class RunnableCapsule(Protocol):
    """A capsule in state ready, as the dispatcher sees it."""

    @property
    def source_id(self) -> str:
        """UUID text of this load; the source of what the capsule publishes."""
        ...

    def invoke(
        self, action: str, payload: bytes, envelope: Envelope, *, cancel: CancelToken | None
    ) -> GuestResult:
        """Call an interceptor on the calling thread, for the principal of the envelope.

        Args:
            action: Handler text of the manifest.
            payload: What the handler receives; the envelope's payload or a predecessor's data.
            envelope: The event, which becomes the caller.
            cancel: Stops the call when it fires.

        Raises:
            UnsupportedActionError: Nothing in the capsule answers interceptor calls.
            DeniedError: The principal may not call the capsule.
            EngineError: The guest was stopped.
        """
        ...


class CapsuleDirectory(Protocol):
    """Finds capsules by id, anew for each call, so that a restarted one is found again."""

    def lookup(self, capsule_id: CapsuleId) -> RunnableCapsule | None:
        """The capsule, or None unless it is ready now. Called from any thread; returns quickly."""
        ...


class Member(NamedTuple):
    """A bound interceptor; members of a chain are in this very order [C-33]."""

    priority: int
    capsule: CapsuleId
    position: int
    action: str


class ChainEnd(enum.Enum):
    """How a chain ended.

    COMPLETED: every member was asked. FINAL: one answered for good. DENIED: one refused.
    CANCELLED: stopped from outside, possibly before the first member. DROPPED: never started,
    because too much was waiting.
    """

    COMPLETED = "completed"
    FINAL = "final"
    DENIED = "denied"
    CANCELLED = "cancelled"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class MemberReport:
    """What one member did: exactly one of outcome and error is there."""

    capsule: CapsuleId
    action: str
    outcome: Outcome | None = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What became of one event.

    Attributes:
        end: How the chain ended.
        members: The members that were asked, in order.
    """

    end: ChainEnd
    members: tuple[MemberReport, ...] = ()

    @property
    def last(self) -> Outcome | None:
        """The last answer: that of the member that ended the chain, if one did."""
        outcomes = [member.outcome for member in self.members if member.outcome is not None]
        return outcomes[-1] if outcomes else None

    @property
    def first_error(self) -> Exception | None:
        """The first error of a member, None when all answered."""
        return next((member.error for member in self.members if member.error is not None), None)


AfterAnswer = Callable[[Member, RunnableCapsule, Outcome, Envelope], None]


def run_chain(
    members: Sequence[Member],
    envelope: Envelope,
    *,
    directory: CapsuleDirectory,
    cancel: CancelToken | None = None,
    after: AfterAnswer | None = None,
) -> ChainReport:
    """Ask the members one after the other, each without holding anything of the others.

    Args:
        members: In order.
        envelope: The event.
        directory: Where the capsules are found.
        cancel: Stops the running member and the chain.
        after: Called with each answer before the next member is asked.
    """
    payload = envelope.payload
    reports: list[MemberReport] = []
    for member in members:
        if cancel is not None and cancel.is_fired:
            return ChainReport(ChainEnd.CANCELLED, tuple(reports))
        try:
            capsule, result = _ask(directory, member, payload, envelope, cancel)
            outcome = outcome_of_record(result.action, result.data)
            if after is not None:
                after(member, capsule, outcome, envelope)
        except Exception as error:  # noqa: BLE001 - no error of a member stops the others (7.4)
            _log_error(member, envelope, error)
            reports.append(MemberReport(member.capsule, member.action, error=error))
            if cancel is not None and cancel.is_fired:
                return ChainReport(ChainEnd.CANCELLED, tuple(reports))
            continue
        reports.append(MemberReport(member.capsule, member.action, outcome))
        if outcome.effect is Effect.DENY:
            _log_denial(member, envelope, outcome)
            return ChainReport(ChainEnd.DENIED, tuple(reports))
        if outcome.effect is Effect.FINAL:
            return ChainReport(ChainEnd.FINAL, tuple(reports))
        payload = outcome.data or payload
    return ChainReport(ChainEnd.COMPLETED, tuple(reports))


def _ask(
    directory: CapsuleDirectory,
    member: Member,
    payload: bytes,
    envelope: Envelope,
    cancel: CancelToken | None,
) -> tuple[RunnableCapsule, GuestResult]:
    """Call a member; its successor where it was replaced before any of its code ran."""
    capsule = _find(directory, member.capsule)
    try:
        return capsule, capsule.invoke(member.action, payload, envelope, cancel=cancel)
    except UnsupportedActionError:
        successor = _find(directory, member.capsule)
        if successor is capsule:
            raise
    return successor, successor.invoke(member.action, payload, envelope, cancel=cancel)


def _find(directory: CapsuleDirectory, capsule_id: CapsuleId) -> RunnableCapsule:
    capsule = directory.lookup(capsule_id)
    if capsule is None:
        raise CapsuleNotFoundError(
            f"capsule {capsule_id} is not ready",
            code="capsule.not-ready",
            hint="it may be restarting; look at its state and its log",
        )
    return capsule


def _log_error(member: Member, envelope: Envelope, error: Exception) -> None:
    where = f"{member.capsule}.{member.action} on {envelope.topic}"
    if isinstance(error, UnsupportedActionError):
        logger.debug("{} is skipped: {}", where, error)
    elif isinstance(error, AstridError):
        logger.warning("{} failed for {}: {}", where, envelope.principal, error)
    else:
        logger.error("{} failed unexpectedly: {}", where, failure_text(error))


def _log_denial(member: Member, envelope: Envelope, outcome: Outcome) -> None:
    logger.warning(
        "{}.{} denied {} of {}: {:.200}",
        member.capsule,
        member.action,
        envelope.topic,
        envelope.principal,
        ascii(outcome.reason),
    )
