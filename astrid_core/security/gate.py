"""The gate: the only place that says yes.

Every check applies the built-in rules first and asks the policies only about what those allow: the
built-in ALLOW is one vote among theirs, so a policy can take away and never add. Each method
returns a `Grant` or raises; each refusal is reported before it is raised.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

from astrid_core.domain.capability import Decision, Outcome
from astrid_core.domain.file_pattern import FilePlace
from astrid_core.domain.request_topics import REQUEST_PREFIX
from astrid_core.domain.topic import is_reserved, matches_acl
from astrid_core.security.checked import GATE_KEY, CheckedPath, FileAccess
from astrid_core.security.clients import OPEN_RIGHTS, may_publish, may_speak_for
from astrid_core.security.grants import CapsuleGrants
from astrid_core.security.votes import VoteCollector, tally
from astrid_hookspecs.authz import AuthzRequest, Verdict, Vote
from astrid_hookspecs.errors import (
    CapabilityDeniedError,
    PolicyDeniedError,
    QuotaExceededError,
)
from astrid_hookspecs.events import DecisionEvent
from astrid_hookspecs.values import CapsuleId, Principal


def rule_of(decision: Decision, right: str) -> str:
    """The name of what allowed a request: the grant, the group, or that everybody may."""
    if decision.outcome is Outcome.GRANTED:
        return f"grants:{decision.pattern}"
    if decision.outcome is Outcome.TOKEN:
        return f"token:{decision.pattern}"
    if decision.outcome is Outcome.GROUP:
        return f"group:{decision.group}:{decision.pattern}"
    return f"open:{right}"


class Grant(NamedTuple):
    """Proof that a request was allowed, and by which rule."""

    request: AuthzRequest
    rule: str


class Gate:
    """Decides about requests of capsules and clients.

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

    def check_invoke(
        self, principal: Principal, capsule: CapsuleId, action: str, *, enabled: bool
    ) -> Grant:
        """May the principal enter the capsule's guest code?

        Args:
            principal: Effective principal of the call.
            capsule: Capsule to enter.
            action: Interceptor action.
            enabled: The principal's profile switch.

        Raises:
            CapabilityDeniedError: The profile is disabled.
            PolicyDeniedError: A policy refused.
        """
        request = AuthzRequest(principal, "capsule.invoke", action, capsule)
        self._check_enabled(request, enabled=enabled)
        return self._ask_policies(request, rule="profile.enabled")

    def check_client_principal(self, principal: Principal, named: Principal) -> Grant:
        """May a connection send a frame that names this principal?

        Raises:
            CapabilityDeniedError: It names another one, and the connection's may not do that.
            PolicyDeniedError: A policy refused.

        Spec: kernel-and-security 16 D-12.
        """
        request = AuthzRequest(principal, "client.speak-for", f"principal:{named}")
        if not may_speak_for(principal, named):
            raise self._refuse(
                request,
                rule="connection.principal",
                message=f"a connection of {principal!r} cannot act for {named!r}",
                hint="leave the principal out, or connect for the other one",
            )
        return self._ask_policies(request, rule="connection.principal")

    def check_client_request(
        self,
        principal: Principal,
        method: str,
        *,
        right: str,
        decision: Decision,
        target: Principal | None = None,
    ) -> Grant:
        """May a principal make this kernel or management request?

        Args:
            principal: For whom the client or capsule acts.
            method: Of the request.
            right: The management capability it needs.
            decision: Whether its profile and groups give it that capability.
            target: The principal that the request is about, for policies.

        Raises:
            CapabilityDeniedError: The principal is disabled, the right is revoked, or missing.
            PolicyDeniedError: A policy refused.

        Spec: kernel-and-security 4.2, 5.6.
        """
        context = {"right": right} if target is None else {"right": right, "target": target}
        request = AuthzRequest(principal, "kernel.request", method, None, context)
        self._check_enabled(request, enabled=decision.outcome is not Outcome.DISABLED)
        if decision.outcome is Outcome.REVOKED:
            raise self._refuse(
                request,
                rule=f"revokes:{decision.pattern}",
                message=f"principal {principal!r} may not use {method}: {right!r} is revoked",
                hint=f"take {decision.pattern!r} out of revokes in etc/profiles/{principal}.toml",
            )
        if not decision.is_allowed and right not in OPEN_RIGHTS:
            raise self._refuse(
                request,
                rule=right,
                message=f"principal {principal!r} may not use {method}: it lacks {right!r}",
                hint=f"an administrator can give it: astrid caps grant {principal} {right}",
            )
        return self._ask_policies(request, rule=rule_of(decision, right))

    def check_client_publish(self, principal: Principal, topic: str, *, enabled: bool) -> Grant:
        """May a client publish on the topic?

        Raises:
            CapabilityDeniedError: The principal is disabled, or the topic is the kernel's or the
                owner's.
            PolicyDeniedError: A policy refused.
        """
        request = AuthzRequest(principal, "bus.publish", topic)
        self._check_enabled(request, enabled=enabled)
        if not may_publish(principal, topic):
            raise self._refuse(
                request,
                rule="reserved-topic",
                message=f"a client of {principal!r} may not publish on {topic!r}",
                hint="the kernel keeps this topic for itself or for the owner",
            )
        return self._ask_policies(request, rule="client-topic")

    def check_client_subscribe(self, principal: Principal, pattern: str) -> Grant:
        """May a client receive what matches the pattern and concerns its principal?

        Raises:
            PolicyDeniedError: A policy refused.
        """
        request = AuthzRequest(principal, "bus.subscribe", pattern)
        return self._ask_policies(request, rule="client-topic")

    def check_publish(self, grants: CapsuleGrants, principal: Principal, topic: str) -> Grant:
        """May the capsule publish on the topic?

        Raises:
            CapabilityDeniedError: The topic is reserved for uplinks, or not in the publish ACL.
            PolicyDeniedError: A policy refused.

        Spec: astrid:ipc@1.0.0 publish; capsules-and-bus 1.6; host-abi H-17.
        """
        request = AuthzRequest(principal, "bus.publish", topic, grants.capsule)
        is_request = topic.startswith(REQUEST_PREFIX)  # what it asks for decides: check_request
        if is_reserved(topic) and not is_request and not grants.uplink:
            raise self._refuse(
                request,
                rule="reserved-topic",
                message=f"{topic!r} is reserved for uplink capsules",
                hint="only a front end with capabilities.uplink = true may publish there",
            )
        return self._check_acl(request, grants.publish, table="publish")

    def check_request(
        self, grants: CapsuleGrants, principal: Principal, topic: str, *, method: str | None
    ) -> Grant:
        """May the capsule make this kernel request? Asked after `check_publish` allowed the topic.

        Args:
            grants: Of the capsule.
            principal: Effective principal.
            topic: Below `astrid.v1.request.`.
            method: The request's method, None when the payload names none.

        Raises:
            CapabilityDeniedError: Anything but a request known to change nothing needs an uplink.
            PolicyDeniedError: A policy refused.

        Spec: host-abi H-17.
        """
        request = AuthzRequest(
            principal, "kernel.request", topic, grants.capsule, {"method": method or ""}
        )
        if is_reserved(topic, method=method) and not grants.uplink:
            raise self._refuse(
                request,
                rule="reserved-topic",
                message=f"kernel request {method or 'without a method'} is reserved for uplinks",
                hint="other capsules may only ask for what changes nothing, such as GetStatus",
            )
        return self._ask_policies(request, rule="kernel-request")

    def check_publish_as(
        self, grants: CapsuleGrants, principal: Principal, claimed: Principal, *, enabled: bool
    ) -> Grant:
        """May the capsule speak for somebody else?

        Args:
            grants: Of the capsule.
            principal: For whom it acts.
            claimed: For whom it wants to speak; not checked yet.
            enabled: The profile switch of `claimed`.

        Raises:
            CapabilityDeniedError: The manifest lacks the `uplink` flag, or `claimed` is disabled.
            PolicyDeniedError: A policy refused.

        Spec: astrid:ipc@1.0.0 publish-as.
        """
        request = AuthzRequest(
            principal, "bus.publish-as", f"principal:{claimed[:64]}", grants.capsule
        )
        if not grants.uplink:
            raise self._refuse(
                request,
                rule="capabilities.uplink",
                message=f"capsule {grants.capsule!r} may not publish for another principal",
                hint="set uplink = true below [capabilities] in Capsule.toml",
            )
        self._check_enabled(request, enabled=enabled, who=claimed)
        return self._ask_policies(request, rule="capabilities.uplink")

    def check_claim(
        self, grants: CapsuleGrants, principal: Principal, claimed: Principal, topic: str
    ) -> None:
        """May what the capsule says to the kernel be said for somebody else?

        Asked after `check_publish_as`, which knows whether it may speak for others at all: what is
        done for a principal may ask for less in the name of another, and never for more.

        Raises:
            CapabilityDeniedError: The topic is the kernel's business, and the principal may not act
                for the claimed one.

        Spec: kernel-and-security 16 D-12.
        """
        if is_reserved(topic) and not may_speak_for(principal, claimed):
            raise self._refuse(
                AuthzRequest(principal, "bus.publish-as", f"principal:{claimed}", grants.capsule),
                rule="claim.principal",
                message=f"what is done for {principal!r} cannot ask the kernel for {claimed!r}",
                hint="publish it for the principal of the call",
            )

    def check_subscribe(self, grants: CapsuleGrants, principal: Principal, pattern: str) -> Grant:
        """May the capsule receive what matches the pattern?

        Raises:
            CapabilityDeniedError: The pattern's text is not in the subscribe ACL.
            PolicyDeniedError: A policy refused.

        Spec: astrid:ipc@1.0.0 subscribe.
        """
        request = AuthzRequest(principal, "bus.subscribe", pattern, grants.capsule)
        return self._check_acl(request, grants.subscribe, table="subscribe")

    def check_file(
        self, grants: CapsuleGrants, principal: Principal, access: FileAccess, place: FilePlace
    ) -> CheckedPath:
        """May the capsule read or change what a path leads to?

        Args:
            grants: Of the capsule.
            principal: Effective principal.
            access: `read-write` needs both; neither includes the other.
            place: Where the path leads, links and `..` resolved.

        Raises:
            CapabilityDeniedError: The kernel keeps the place for itself, or no entry covers it.
            PolicyDeniedError: A policy refused.

        Spec: host-abi 5.2; kernel-and-security 11, D-08.
        """
        rules = [
            self._check_file_list(grants, principal, verb, place)
            for verb in (("read", "write") if access == "read-write" else (access,))
        ]
        return CheckedPath(place, access, " ".join(rules), GATE_KEY)

    def report_excess(
        self, grants: CapsuleGrants, principal: Principal, action: str, *, rule: str
    ) -> None:
        """Report that what a capsule did, which is allowed, is more than the principal may use.

        Args:
            grants: Of the capsule.
            principal: Whose limit it is.
            action: As the audit log names it, `kv.set`.
            rule: The limit.
        """
        self._report(AuthzRequest(principal, action, "", grants.capsule), rule)

    def over_quota(
        self,
        principal: Principal,
        capsule: CapsuleId,
        action: str,
        *,
        rule: str,
        message: str,
        hint: str,
    ) -> QuotaExceededError:
        """Report that a call, which is allowed, is more than the principal may use now.

        Returns:
            The refusal; the caller raises it.
        """
        self._report(AuthzRequest(principal, "capsule.invoke", action, capsule), rule)
        return QuotaExceededError(message, rule=rule, hint=hint)

    def _check_file_list(
        self, grants: CapsuleGrants, principal: Principal, verb: str, place: FilePlace
    ) -> str:
        request = AuthzRequest(principal, f"fs.{verb}", place.text, grants.capsule)
        table = f"fs_{verb}"
        if place.is_reserved:
            raise self._refuse(
                request,
                rule="home.reserved",
                message=f"{place.text!r} is the kernel's own",
                hint="keep files elsewhere in the home; no entry of a manifest opens this place",
            )
        for pattern in grants.fs_read if verb == "read" else grants.fs_write:
            if pattern.covers(place):
                return self._ask_policies(request, rule=f"{table}:{pattern.text}").rule
        raise self._refuse(
            request,
            rule=table,
            message=f"capsule {grants.capsule!r} may not {verb} {place.text!r}",
            hint=f"add {json.dumps(place.text, ensure_ascii=False)} to {table} below "
            "[capabilities] in its Capsule.toml",
        )

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

    def _check_acl(self, request: AuthzRequest, acl: tuple[str, ...], *, table: str) -> Grant:
        for pattern in acl:
            if matches_acl(request.resource, pattern):
                return self._ask_policies(request, rule=f"{table}-acl:{pattern}")
        raise self._refuse(
            request,
            rule=f"{table}-acl",
            message=f"capsule {request.capsule!r} may not {table} {request.resource!r}",
            hint=f'add "{request.resource}" to the [{table}] table of its Capsule.toml',
        )

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
