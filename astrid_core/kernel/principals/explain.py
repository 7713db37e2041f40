"""Explains decisions by making them: the gate decides, and every step on the way is written down.

There is no second implementation of any rule here: what an explanation says is allowed, the same
gate with the same inputs allows. Explaining changes nothing and records nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple

from astrid_core.domain.admin_request import ADMIN_METHODS
from astrid_core.domain.capability import Decision, Outcome, parse_capability
from astrid_core.domain.guest_path import HOME, TMP, WORKSPACE
from astrid_core.domain.kernel_request import METHODS
from astrid_core.kernel.principals.authority import Authority
from astrid_core.kernel.principals.explain_capsule import (
    ABOUT_NOTHING,
    ACTIONS,
    Known,
    capsule_decision,
    manifest_steps,
)
from astrid_core.kernel.principals.explain_case import Outside
from astrid_core.kernel.principals.explain_steps import (
    CapsuleQuestion,
    Step,
    profile_step,
    right_steps,
)
from astrid_core.security.clients import OPEN_RIGHTS
from astrid_core.security.gate import Gate, Grant
from astrid_core.security.grants import CapsuleGrants
from astrid_core.security.votes import Ballot, VoteCollector
from astrid_hookspecs.authz import AuthzRequest
from astrid_hookspecs.errors import ConfigError, DeniedError
from astrid_hookspecs.events import DecisionEvent
from astrid_hookspecs.values import CapsuleId, Principal, parse_principal


class Explanation(NamedTuple):
    """A decision and the way to it.

    Attributes:
        allowed: What the gate decided.
        rule: Which rule decided; the one that errors and the audit log name.
        reason: Why not; empty when it is allowed.
        hint: What would allow it, or None.
        steps: In the order in which they were looked at.
    """

    principal: Principal
    action: str
    resource: str
    capsule: CapsuleId | None
    allowed: bool
    rule: str
    reason: str
    hint: str | None
    steps: tuple[Step, ...]


_EFFECTS: Final[Mapping[str, str]] = {"allow": "allows", "deny": "refuses", "abstain": "silent"}


class _Trace:
    """Collects the votes for the gate and writes them down."""

    def __init__(self, votes: VoteCollector | None) -> None:
        self._votes = votes
        self.steps: list[Step] = []

    def collect(self, request: AuthzRequest) -> Sequence[Ballot]:
        ballots = () if self._votes is None else self._votes(request)
        for distribution, vote in ballots:
            rule = f" ({vote.rule})" if vote.rule else ""
            self.steps.append(Step(distribution, _EFFECTS[vote.verdict.value], vote.reason + rule))
        return ballots

    def decided(self, event: DecisionEvent) -> None:
        """Of many addresses of a name some may be refused: each is a step of its own."""
        if event.action == "net.address":
            self.steps.append(Step(f"address {event.resource}", "refuses", f"rule {event.rule}"))


class _Question(NamedTuple):
    """A gate that only this question is put to, and what was looked at for it."""

    gate: Gate
    trace: _Trace
    principal: Principal


class _Asked(NamedTuple):
    """A request as the gate is asked about it."""

    name: str
    right: str
    target: Principal | None = None


def _asked(principal: Principal, action: str, about: str) -> _Asked:
    managing = ADMIN_METHODS.get(action)
    if managing is not None:
        target = parse_principal(about) if about else None
        is_own = managing.own_right is not None and target == principal
        right = managing.own_right if is_own and managing.own_right else managing.right
        return _Asked(managing.name, right, target)
    method = METHODS.get(action)
    if method is not None:
        return _Asked(action, method.right)
    if "*" in parse_capability(action):
        raise ConfigError(
            f"{action!r} stands for many rights",
            code="explain.pattern",
            hint="name one right, such as system:status",
        )
    return _Asked(action, action)


class Explainer:
    """Answers "may they, and why".

    Args:
        authority: Profiles and groups.
        votes: Collects the votes of policies; None when there are none.
        grants_of: What the manifest of an installed capsule grants it.
        schemes: Of the mounts that are configured, besides the three there always are.
        token_for: The id of a token with which a principal has a right, or None.
        outside: What decides about processes, the network, servers and approvals besides.
    """

    def __init__(
        self,
        authority: Authority,
        *,
        votes: VoteCollector | None,
        grants_of: Callable[[CapsuleId], CapsuleGrants],
        schemes: Collection[str] = (),
        token_for: Callable[[Principal, str], str | None] = lambda _principal, _right: None,
        outside: Outside | None = None,
    ) -> None:
        self._authority = authority
        self._votes = votes
        self._grants_of = grants_of
        self._token_for = token_for
        self._known = Known(
            frozenset({HOME, TMP, WORKSPACE, *schemes}), authority, outside or Outside()
        )

    def explain(
        self, principal: Principal, action: str, resource: str = "", *, capsule: str | None = None
    ) -> Explanation:
        """Decide about an action.

        Args:
            principal: Who would do it.
            action: One of `ACTIONS`, a method such as `GetStatus` or `QuotaSet`, or a capability.
            resource: A topic, a path with a scheme, a tool, a platform, a front end, a command, a
                URL, an endpoint, a server, a question; for management methods and for
                speaking as somebody the principal that it is about; nothing for other methods and
                for capabilities.
            capsule: The capsule that would act; None for a client.

        Raises:
            ConfigError: The action or the resource makes no sense, or a file cannot be read.
            CapsuleError: The capsule is not installed.
        """
        trace = _Trace(self._votes)
        gate = Gate(votes=trace.collect if self._votes else None, decided=trace.decided)
        question = _Question(gate, trace, principal)
        acting = None if capsule is None else self._grants_of(CapsuleId(capsule))
        if action not in ACTIONS:
            decide = self._request(question, _asked(principal, action, resource))
            resource = resource or action
        else:
            decide = self._action(question, action, resource, acting)
        allowed, rule, reason, hint = _decision(decide)
        return Explanation(
            principal,
            action,
            resource,
            None if acting is None else acting.capsule,
            allowed,
            rule,
            reason,
            hint,
            tuple(trace.steps),
        )

    def _request(self, question: _Question, asked: _Asked) -> Callable[[], Grant]:
        gate, trace, principal = question
        right = asked.right
        decision = self._authority.decide(principal, right)
        profile = self._authority.profiles.profile(principal)
        trace.steps += [profile_step(principal, profile)]
        trace.steps += right_steps(principal, profile, decision, right=right)
        if decision.outcome is Outcome.MISSING and right not in OPEN_RIGHTS:
            decision = self._with_token(principal, right, trace, decision)
        return lambda: gate.check_client_request(
            principal, asked.name, right=right, decision=decision, target=asked.target
        )

    def _with_token(
        self, principal: Principal, right: str, trace: _Trace, decision: Decision
    ) -> Decision:
        found = self._token_for(principal, right)
        if found is None:
            trace.steps.append(Step("capability tokens", "silent", "none gives it"))
            return decision
        trace.steps.append(Step("capability tokens", "allows", f"token {found} gives it"))
        return Decision(Outcome.TOKEN, found)

    def _action(
        self, question: _Question, action: str, resource: str, acting: CapsuleGrants | None
    ) -> Callable[[], Grant]:
        gate, trace, principal = question
        if not resource and action not in ABOUT_NOTHING:
            raise ConfigError(
                f"{action} needs a resource",
                code="explain.resource",
                hint="name the topic, the path such as workspace://notes.txt, the tool, "
                "the platform, the principal, the command, the URL, the endpoint, or the server",
            )
        profile = self._authority.profiles.profile(principal)
        trace.steps.append(profile_step(principal, profile))
        enabled = profile.enabled
        if acting is None:
            if action == "bus.publish":
                return lambda: gate.check_client_publish(principal, resource, enabled=enabled)
            if action == "bus.subscribe":
                return lambda: gate.check_client_subscribe(principal, resource)
            raise ConfigError(
                f"{action} is what capsules do",
                code="explain.capsule",
                hint="name the capsule: --capsule NAME",
            )
        if action == "capsule.invoke" or not enabled:  # it never enters the capsule
            return lambda: gate.check_invoke(principal, acting.capsule, resource, enabled=enabled)
        asked = CapsuleQuestion(gate, acting, principal, resource, trace.steps)
        trace.steps += manifest_steps(acting, action)
        return capsule_decision(asked, action, known=self._known)


def _decision(decide: Callable[[], Grant]) -> tuple[bool, str, str, str | None]:
    try:
        return True, decide().rule, "", None
    except DeniedError as error:
        return False, error.rule, error.message, error.hint
