"""Checks of what capsules say and hear on the bus, and of what they ask the kernel there."""

from __future__ import annotations

from astrid_core.domain.request_topics import REQUEST_PREFIX
from astrid_core.domain.topic import is_kernels_own, is_reserved, matches_acl
from astrid_core.security.clients import may_speak_for
from astrid_core.security.decider import Decider, Grant
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.authz import AuthzRequest
from astrid_hookspecs.values import Principal


class BusChecks(Decider):
    """Decides about publishes and subscriptions of capsules."""

    def check_publish(self, grants: CapsuleGrants, principal: Principal, topic: str) -> Grant:
        """May the capsule publish on the topic?

        Raises:
            CapabilityDeniedError: The topic is the kernel's own, or reserved for uplinks, or not in
                the publish ACL.
            PolicyDeniedError: A policy refused.

        Spec: astrid:ipc@1.0.0 publish; capsules-and-bus 1.6; host-abi H-17.
        """
        request = AuthzRequest(principal, "bus.publish", topic, grants.capsule)
        if is_kernels_own(topic):
            raise self._refuse(
                request,
                rule="kernel-topic",
                message=f"{topic!r} is what the kernel says, and nobody says it in its place",
                hint="publish on a topic of your own",
            )
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
