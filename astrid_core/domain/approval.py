"""Approvals: what a person is asked, the states a question goes through, and what a yes covers.

A question is pending until one of five things ends it: it is allowed (once, for the session, or
always), denied, expired, or cancelled. Trusted with two things: a yes covers the words that were
shown or the scope that was, and only who may answer answers.
Spec: kernel-and-security 7.4, vectors 116 to 118.
"""

from __future__ import annotations

import enum
import unicodedata
import uuid
from typing import Final

import msgspec

from astrid_core.domain.action import CapsuleRequest
from astrid_core.domain.allowance import Allowance
from astrid_core.domain.allowance_pattern import CapsuleCommand, ExactRequest
from astrid_core.domain.resource_pattern import PatternError, escaped
from astrid_hookspecs.errors import ApprovalDeniedError, AstridError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, is_capsule_id, is_principal

MAX_ACTION: Final = 256
MAX_RESOURCE: Final = 1024
MAX_REASON: Final = 1024
LIFETIME_S: Final = 24 * 3600
"""How long a question, or a yes that nobody has used, waits."""
EXACT: Final = "exact"
"""The scope of a yes to the words that were shown and no others."""
LATER: Final = "later"
"""What a front end says when nobody is there to decide now: the question stays, nobody waits."""

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of characters that are not seen as what they are."""


class ApprovalError(AstridError):
    """A question cannot be asked or answered.

    Codes: `approval.invalid`, `approval.scope`, `approval.not-found`, `approval.answered`,
    `approval.damaged`.
    """

    default_code = "approval.invalid"


class State(enum.Enum):
    """Where a question is; PENDING is the only one that changes."""

    PENDING = "pending"
    ONCE = "once"
    SESSION = "session"
    ALWAYS = "always"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def is_yes(self) -> bool:
        """Whether the action may happen."""
        return self in (State.ONCE, State.SESSION, State.ALWAYS)


_DECISIONS: Final = {
    "approve": State.ONCE,
    "approve_session": State.SESSION,
    "approve_always": State.ALWAYS,
}


def parse_decision(text: str) -> State:
    """What an answer means; everything but the three words for yes is a no."""
    return _DECISIONS.get(text, State.DENIED)


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person decides about. Times are Unix seconds.

    Attributes:
        id: Of the question.
        principal: For whom the capsule acts: who is asked, and for whom a yes counts.
        capsule: Which one asks.
        action: What it wants to do, in its words.
        resource: To what.
        reason: Why, in its words. Not part of what a yes covers.
        workspace_root: Where; a yes counts there only. None for nowhere in particular.
        created_at: When it was asked.
        expires_at: From when on it is no longer answered.
        state: Where it is.
    """

    id: uuid.UUID
    principal: str
    capsule: str
    action: str
    resource: str
    reason: str = ""
    workspace_root: str | None = None
    created_at: int
    expires_at: int
    state: State = State.PENDING

    @property
    def wanted(self) -> CapsuleRequest:
        """The action."""
        return CapsuleRequest(self.capsule, self.action, self.resource)

    def asks_the_same(self, other: Question) -> bool:
        """Whether one answer is enough for both."""
        return (self.principal, self.wanted, self.workspace_root) == (
            other.principal,
            other.wanted,
            other.workspace_root,
        )


def ask(
    question_id: uuid.UUID,
    *,
    principal: str,
    capsule: str,
    action: str,
    resource: str,
    reason: str,
    workspace_root: str | None,
    now: int,
) -> Question:
    """A new question.

    What is shown is what a yes covers, so a text that cannot be shown as it is, because it is too
    long or has characters that nobody sees, is refused and not mended. Blanks around it go.

    Raises:
        ApprovalError: `approval.invalid`.
    """
    question = Question(
        id=question_id,
        principal=principal,
        capsule=capsule,
        action=_shown(action, "action", limit=MAX_ACTION),
        resource=_shown(resource, "resource", limit=MAX_RESOURCE),
        reason=_shown(reason, "reason", limit=MAX_REASON),
        workspace_root=workspace_root,
        created_at=now,
        expires_at=now + LIFETIME_S,
    )
    if not question.action:
        raise ApprovalError("an approval needs an action to decide about")
    return question


def usual_scope(question: Question) -> str:
    """What a yes for the session or for good covers unless a person says otherwise.

    Where the resource is a command that begins with the action (`git push`, `git push origin`), the
    action with any arguments; else `exact`. Both texts were shown, so what is granted was, too.

    Spec: vectors 116, 117 of host-abi 21.7; kernel-and-security 7.4, D-46, H-34.
    """
    action, resource = question.action, question.resource
    if resource != action and not resource.startswith(f"{action} "):
        return EXACT
    text = f"{escaped(action)} *"
    return text if _covers(question, text) else EXACT


def check_scope(question: Question, scope: str) -> ExactRequest | CapsuleCommand:
    """The pattern that a scope stands for: `exact`, or a glob over the resource.

    Whatever it says, it is about this capsule and this action.

    Raises:
        ApprovalError: `approval.scope`: it is no pattern, or does not cover what is asked.
    """
    if scope == EXACT:
        return ExactRequest(question.capsule, question.action, question.resource)
    if not _covers(question, scope):
        raise ApprovalError(
            f"the scope {scope[:80]!r} does not cover {question.resource[:80]!r}",
            code="approval.scope",
            hint="use 'exact', or a pattern such as 'git push *'; none covers a text with one of "
            "; | & $ < > ( ) { }, a backtick or a backslash",
        )
    return CapsuleCommand(question.capsule, question.action, scope)


def scope_of(allowance: Allowance) -> str:
    """What an allowance covers, as people read it: its scope, or `exact`."""
    pattern = allowance.action_pattern
    return pattern.command if isinstance(pattern, CapsuleCommand) else EXACT


def _covers(question: Question, scope: str) -> bool:
    pattern = CapsuleCommand(question.capsule, question.action, scope)
    try:
        return pattern.covers(question.wanted, root=question.workspace_root)
    except PatternError:
        return False


def may_answer(who: str, question: Question) -> bool:
    """Whether a person acting as a principal may answer: it is their own, or they are the owner.

    Asked about connections of front ends; a capsule is never one [D-46].
    """
    return who in (question.principal, DEFAULT_PRINCIPAL)


def answer(
    question: Question, decision: State, *, now: float, scope: str | None = None
) -> tuple[Question, Allowance | None]:
    """End a question with a person's decision.

    Args:
        question: A pending one.
        decision: A yes, or DENIED.
        now: Unix seconds.
        scope: What SESSION and ALWAYS cover, as `check_scope` reads it; None for the usual.

    Returns:
        The question in its last state, and what a yes allows: one use within a day for ONCE, until
        the kernel ends for SESSION, from now on for ALWAYS. Its id is the question's.

    Raises:
        ApprovalError: `approval.answered`: it has ended, or its time is over.
            `approval.invalid`: this is no decision. `approval.scope`: as `check_scope`; also for
            a decision that has no scope to choose.
    """
    if question.state is not State.PENDING or now >= question.expires_at:
        raise ApprovalError("this request was decided or has expired", code="approval.answered")
    if not decision.is_yes and decision is not State.DENIED:
        raise ApprovalError(f"{decision.value!r} is no decision of a person")
    if scope not in (None, EXACT) and decision not in (State.SESSION, State.ALWAYS):
        raise ApprovalError(
            f"{decision.value!r} is about this one request",
            code="approval.scope",
            hint="a scope goes with a yes for the session or for good",
        )
    ended = msgspec.structs.replace(question, state=decision)
    if not decision.is_yes:
        return ended, None
    is_once = decision is State.ONCE
    wide = usual_scope(question) if scope is None else scope
    allowance = Allowance(
        id=question.id,
        principal=question.principal,
        action_pattern=check_scope(question, EXACT if is_once else wide),
        created_at=int(now),
        expires_at=int(now) + LIFETIME_S if is_once else None,
        max_uses=1 if is_once else None,
        uses_remaining=1 if is_once else None,
        session_only=decision is State.SESSION,
        workspace_root=question.workspace_root,
    )
    return ended, allowance


def expire(question: Question, *, now: float) -> Question:
    """The question, EXPIRED when it is pending and its time is over."""
    if question.state is not State.PENDING or now < question.expires_at:
        return question
    return msgspec.structs.replace(question, state=State.EXPIRED)


def cancel(question: Question) -> Question:
    """The question, CANCELLED when it was pending: who asked no longer wants to know."""
    if question.state is not State.PENDING:
        return question
    return msgspec.structs.replace(question, state=State.CANCELLED)


def refusal(state: State) -> ApprovalDeniedError:
    """The error for who asked; PENDING means that nobody has answered in time."""
    message, hint = _REFUSALS[state]
    return ApprovalDeniedError(
        message, rule=f"approval:{state.value}", code=f"approval.{_CODES[state]}", hint=hint
    )


_REFUSALS: Final = {
    State.DENIED: ("a person refused it", None),
    State.PENDING: (
        "nobody has answered yet",
        "it can still be answered; try again then",
    ),
    State.EXPIRED: ("nobody answered within a day", "try again"),
    State.CANCELLED: ("the request was withdrawn", None),
}
_CODES: Final = {
    State.DENIED: "denied",
    State.PENDING: "timeout",
    State.EXPIRED: "expired",
    State.CANCELLED: "cancelled",
}


def parse_question(data: bytes) -> Question:
    """Read a stored question.

    Raises:
        ApprovalError: `approval.damaged`.
    """
    try:
        question = _decode(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ApprovalError("a stored question is damaged", code="approval.damaged") from error
    if not is_principal(question.principal) or not is_capsule_id(question.capsule):
        raise ApprovalError("a stored question names nobody", code="approval.damaged")
    return question


def format_question(question: Question) -> bytes:
    """The stored form, JSON."""
    return _encode(question)


_decode: Final = msgspec.json.Decoder(Question).decode
_encode: Final = msgspec.json.Encoder().encode


def _shown(text: str, name: str, *, limit: int) -> str:
    text = text.strip(" ")
    if len(text) > limit:
        raise ApprovalError(
            f"the {name} of an approval has at most {limit} characters, not {len(text)}",
            hint="shorten it: a person has to read all of it",
        )
    if any(unicodedata.category(char) in _HIDDEN for char in text):
        raise ApprovalError(
            f"the {name} of an approval has characters that cannot be shown",
            hint="leave out line breaks, control characters and marks of direction",
        )
    return text
