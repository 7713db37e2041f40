"""The gate: the only place that says yes.

Every check applies the built-in rules first and asks the policies only about what those allow: the
built-in ALLOW is one vote among theirs, so a policy can take away and never add. Each method
returns a proof (a `Grant`, a `CheckedPath`) or raises; each refusal is reported before it is
raised. The checks stand in one module per family; what they share is in `decider`.
"""

from __future__ import annotations

from astrid_core.security.bus_checks import BusChecks
from astrid_core.security.client_checks import ClientChecks
from astrid_core.security.decider import Grant
from astrid_core.security.file_checks import FileChecks
from astrid_core.security.grants import CapsuleGrants
from astrid_core.security.local_checks import LocalChecks
from astrid_core.security.network_checks import NetworkChecks
from astrid_core.security.people_checks import PeopleChecks
from astrid_core.security.process_checks import ProcessChecks
from astrid_core.security.server_checks import ServerChecks
from astrid_hookspecs.authz import AuthzRequest
from astrid_hookspecs.errors import QuotaExceededError
from astrid_hookspecs.values import CapsuleId, Principal

__all__ = ["Gate", "Grant"]


class Gate(
    BusChecks,
    ClientChecks,
    FileChecks,
    LocalChecks,
    NetworkChecks,
    PeopleChecks,
    ProcessChecks,
    ServerChecks,
):
    """Decides about requests of capsules and clients."""

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
        retry_after_ms: int | None = None,
    ) -> QuotaExceededError:
        """Report that a call, which is allowed, is more than the principal may use now.

        Returns:
            The refusal; the caller raises it.
        """
        self._report(AuthzRequest(principal, "capsule.invoke", action, capsule), rule)
        return QuotaExceededError(message, rule=rule, hint=hint, retry_after_ms=retry_after_ms)
