"""Checks of what clients of the socket and the management API ask for."""

from __future__ import annotations

from typing import Final

from astrid_core.domain.capability import Decision
from astrid_core.domain.tool_filter import ToolFilter
from astrid_core.security.clients import may_publish, may_speak_for
from astrid_core.security.decider import Decider, Grant
from astrid_hookspecs.authz import AuthzRequest
from astrid_hookspecs.values import Principal

NOT_OFFERED: Final = "client.only"
"""The rule of what a client leaves out by itself."""


class ClientChecks(Decider):
    """Decides about requests of clients."""

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
        rule = self._check_right(request, decision, right=right, doing=f"use {method}")
        return self._ask_policies(request, rule=rule)

    def check_client_call(self, principal: Principal, target: str, *, offered: ToolFilter) -> Grant:
        """Is this one of the tools that the client was started to offer?

        Args:
            principal: For whom the client acts.
            target: `capsule.tool`, as the client names it.
            offered: What it was started with.

        Raises:
            CapabilityDeniedError: It is not.
            PolicyDeniedError: A policy refused.
        """
        request = AuthzRequest(principal, "client.call", target)
        if not offered.lets_through(target):
            raise self._refuse(
                request,
                rule=NOT_OFFERED,
                message=f"the client does not offer {target!r}",
                hint="it was started for other tools; see its --only",
            )
        return self._ask_policies(request, rule=NOT_OFFERED)

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
