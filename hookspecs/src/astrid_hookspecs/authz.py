"""Authorisation votes: the request, the vote, and the one vote hook."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from astrid_hookspecs.markers import hookspec
from astrid_hookspecs.values import CapsuleId, Principal


class Verdict(enum.Enum):
    """One implementation's opinion. ABSTAIN counts as neither yes nor no."""

    ALLOW = "allow"
    DENY = "deny"
    ABSTAIN = "abstain"


@dataclass(frozen=True, slots=True)
class Vote:
    """A verdict with its reason.

    Attributes:
        verdict: ALLOW, DENY or ABSTAIN.
        reason: One sentence for the person whose action it concerns; no secrets.
        rule: Which rule of the policy decided, for the log; empty when there is none.
    """

    verdict: Verdict
    reason: str
    rule: str = ""


@dataclass(frozen=True, slots=True)
class AuthzRequest:
    """A question to the gate.

    Attributes:
        principal: Who wants it.
        action: `<domain>.<verb>`: `capsule.invoke`, `bus.publish`, `bus.subscribe`, ...
        resource: What it is done to: a topic, `tool:<name>`, a scheme path.
        capsule: The capsule that acts, or None for a client.
        context: Further facts for the policy, text to text.
    """

    principal: Principal
    action: str
    resource: str
    capsule: CapsuleId | None = None
    context: Mapping[str, str] = field(default_factory=dict)


@hookspec
def astrid_authorize(request: AuthzRequest) -> Vote:  # type: ignore[empty-body]
    """Vote on an action.

    Kind: vote. When: for every action the gate's built-in rules allow, on the thread that acts;
    often, so answer in microseconds or cache.
    Args: `request`, immutable.
    Returns: exactly one `Vote`. One DENY refuses the action whatever others say.
    Failure: an exception, None, a coroutine, or anything but a `Vote` refuses the action and names
    the distribution.
    Wrappers, `tryfirst`, `trylast` and `optionalhook` are refused at registration.
    Since: 1.0.
    """
