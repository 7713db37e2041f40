"""Combine the votes of authorisation policies: one DENY refuses, silence refuses.

Trusted with the arithmetic alone. Who voted, and that nobody was skipped, is the business of the
callable that collects the votes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from astrid_hookspecs.authz import AuthzRequest, Verdict, Vote

Ballot = tuple[str, Vote]
"""Distribution that voted, and its vote."""

VoteCollector = Callable[[AuthzRequest], Sequence[Ballot]]
"""Asks every policy once. One ballot per implementation; a failed one arrives as a DENY."""


class Tally(NamedTuple):
    """The combined decision.

    Attributes:
        allowed: Whether the action may happen.
        rule: `policy:<distribution>[:<rule>]`, or `policy:silence` when nobody allowed it.
        reason: The deciding vote's reason.
    """

    allowed: bool
    rule: str
    reason: str


def tally(ballots: Sequence[Ballot]) -> Tally:
    """Combine votes. Order is meaningless; the first DENY in the sequence gives the reason.

    Args:
        ballots: One per implementation, at least one.
    """
    granted: Ballot | None = None
    for ballot in ballots:
        verdict = ballot[1].verdict
        if verdict is Verdict.DENY:
            return _tally(ballot, allowed=False)
        if verdict is Verdict.ALLOW and granted is None:
            granted = ballot
    if granted is None:
        return Tally(allowed=False, rule="policy:silence", reason="no policy allowed it")
    return _tally(granted, allowed=True)


def _tally(ballot: Ballot, *, allowed: bool) -> Tally:
    distribution, vote = ballot
    rule = f"policy:{distribution}"
    if vote.rule not in ("", rule):  # a vote that failed has the plain rule already
        rule = f"{rule}:{vote.rule}"
    return Tally(allowed=allowed, rule=rule, reason=vote.reason)
