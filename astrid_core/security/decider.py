"""What every check of the gate rests on: the policies' votes, and the report of each refusal.

Trusted with two properties: nothing is allowed before the policies were asked, and nothing is
refused without having been reported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from astrid_core.domain.capability import Decision, Outcome
from astrid_core.security.clients import OPEN_RIGHTS
from astrid_core.security.votes import VoteCollector, tally
from astrid_hookspecs.authz import AuthzRequest, Verdict, Vote
from astrid_hookspecs.errors import CapabilityDeniedError, PolicyDeniedError
from astrid_hookspecs.events import DecisionEvent
from astrid_hookspecs.values import Principal


class Grant(NamedTuple):
    """Proof that a request was allowed, and by which rule."""

    request: AuthzRequest
    rule: str


class Decider:
    """The base of the families of checks.

    Args:
        votes: Collects one ballot per policy; None when no policy is installed, which leaves the
            decision to the built-in rules.
        decided: Told of every refusal; must not raise.
    """

    def __init__(
        self, *, votes: VoteCollector | None, decided: Callable[[DecisionEvent], None]
    ) -> None:
        self._votes = votes
        self._decided = decided

    def _check_enabled(
        self, request: AuthzRequest, *, enabled: bool, who: Principal | None = None
    ) -> None:
        if not enabled:
            named = who or request.principal
            raise self._refuse(
                request,
                rule="profile.enabled",
                message=f"principal {named!r} is disabled",
                hint=f"set enabled = true in etc/profiles/{named}.toml",
            )

    def _check_right(
        self, request: AuthzRequest, decision: Decision, *, right: str, doing: str
    ) -> str:
        """Refuse a principal that does not hold a management capability.

        Args:
            request: What is asked about.
            decision: Whether the principal's profile, groups and tokens give it the capability.
            right: The capability.
            doing: What the principal may not do without it, for people.

        Returns:
            The rule that gives it.

        Raises:
            CapabilityDeniedError: The principal is disabled, or the right is revoked or missing.
        """
        principal = request.principal
        self._check_enabled(request, enabled=decision.outcome is not Outcome.DISABLED)
        if decision.outcome is Outcome.REVOKED:
            raise self._refuse(
                request,
                rule=f"revokes:{decision.pattern}",
                message=f"principal {principal!r} may not {doing}: {right!r} is revoked",
                hint=f"take {decision.pattern!r} out of revokes in etc/profiles/{principal}.toml",
            )
        if not decision.is_allowed and right not in OPEN_RIGHTS:
            raise self._refuse(
                request,
                rule=right,
                message=f"principal {principal!r} may not {doing}: it lacks {right!r}",
                hint=f"an administrator can give it: astrid caps grant {principal} {right}",
            )
        return _rule_of(decision, right)

    def _ask_policies(self, request: AuthzRequest, *, rule: str) -> Grant:
        ballots = () if self._votes is None else self._votes(request)
        if not ballots:  # no policy is installed: the built-in ALLOW is the only vote
            return Grant(request, rule)
        built_in = ("astrid-core", Vote(Verdict.ALLOW, "the built-in rules allow it", rule))
        result = tally([built_in, *ballots])
        if result.allowed:
            return Grant(request, rule)
        self._report(request, result.rule)
        raise PolicyDeniedError(
            f"{request.action} on {request.resource!r} was refused: {result.reason}",
            rule=result.rule,
        )

    def _refuse(
        self, request: AuthzRequest, *, rule: str, message: str, hint: str
    ) -> CapabilityDeniedError:
        self._report(request, rule)
        return CapabilityDeniedError(message, rule=rule, hint=hint)

    def _report(self, request: AuthzRequest, rule: str) -> None:
        self._decided(
            DecisionEvent(
                allowed=False,
                principal=request.principal,
                capsule=request.capsule,
                action=request.action,
                resource=request.resource,
                rule=rule,
            )
        )


def _rule_of(decision: Decision, right: str) -> str:
    """The name of what allowed a request: the grant, the group, or that everybody may."""
    if decision.outcome is Outcome.GRANTED:
        return f"grants:{decision.pattern}"
    if decision.outcome is Outcome.TOKEN:
        return f"token:{decision.pattern}"
    if decision.outcome is Outcome.GROUP:
        return f"group:{decision.group}:{decision.pattern}"
    return f"open:{right}"
