"""What those hold who wait for an answer, and what they get.

Spec: kernel-and-security 7.4.
"""

from __future__ import annotations

from typing import NamedTuple

from astrid_core.domain.approval import Question, State
from astrid_hookspecs.cancel import CancelToken


class Pending:
    """A question that waits, and who waits for it. Guarded by the lock of `Approvals`."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.ended = CancelToken()
        self.put_off = CancelToken()
        self.waiters = 0


class Ticket(NamedTuple):
    """A question as it was asked.

    Attributes:
        question: In its words.
        pending: None when an allowance answered it.
        put_off: Fires when nobody is there to answer.
    """

    question: Question
    pending: Pending | None
    put_off: CancelToken


class Settled(NamedTuple):
    """A yes that was used.

    Attributes:
        rule: `allowance:<id>`.
        state: What a person decided; None when nobody had to be asked.
    """

    rule: str
    state: State | None
