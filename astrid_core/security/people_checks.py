"""Checks of who may look after users and their accounts, and who may be a front end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from astrid_core.security.clients import may_speak_for
from astrid_core.security.decider import Decider, Grant
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.authz import AuthzRequest
from astrid_hookspecs.values import Principal

IdentityLevel: TypeAlias = Literal["resolve", "link", "admin"]
_LEVELS: Final[tuple[IdentityLevel, ...]] = ("resolve", "link", "admin")
"""Each includes those before it."""
IDENTITY_ACTIONS: Final[Mapping[str, IdentityLevel]] = {
    "identity.resolve": "resolve",
    "identity.link": "link",
    "identity.unlink": "link",
    "identity.list-links": "link",
    "identity.create-user": "admin",
}
"""What it takes. Spec: kernel-and-security 6.6."""


class PeopleChecks(Decider):
    """Decides about identities and uplinks."""

    def check_identity(
        self,
        grants: CapsuleGrants,
        principal: Principal,
        action: str,
        *,
        resource: str,
    ) -> Grant:
        """May the capsule do this to users and accounts?

        Args:
            grants: Of the capsule.
            principal: Effective principal.
            action: One of `IDENTITY_ACTIONS`; another one takes the highest level.
            resource: The account or user that it is about.

        Raises:
            CapabilityDeniedError: The manifest grants a lower level, or none.
            PolicyDeniedError: A policy refused.

        Spec: host-abi 8; kernel-and-security 6.6.
        """
        request = AuthzRequest(principal, action, resource, grants.capsule)
        level = IDENTITY_ACTIONS.get(action, _LEVELS[-1])
        held = [known for known in _LEVELS if known in grants.identity]
        if not held or _LEVELS.index(held[-1]) < _LEVELS.index(level):
            raise self._refuse(
                request,
                rule=f"identity:{level}",
                message=f"capsule {grants.capsule!r} may not use {action}",
                hint=f'set identity = ["{level}"] below [capabilities] in its Capsule.toml',
            )
        return self._ask_policies(request, rule=f"identity:{held[-1]}")

    def check_uplink(
        self, grants: CapsuleGrants, principal: Principal, action: str, *, resource: str
    ) -> Grant:
        """May the capsule be a front end?

        Args:
            grants: Of the capsule.
            principal: Effective principal.
            action: `uplink.register` or `uplink.send`.
            resource: Which front end.

        Raises:
            CapabilityDeniedError: The manifest lacks the `uplink` flag.
            PolicyDeniedError: A policy refused.

        Spec: host-abi 15.
        """
        request = AuthzRequest(principal, action, resource, grants.capsule)
        if not grants.uplink:
            raise self._refuse(
                request,
                rule="capabilities.uplink",
                message=f"capsule {grants.capsule!r} is no front end",
                hint="set uplink = true below [capabilities] in Capsule.toml",
            )
        return self._ask_policies(request, rule="capabilities.uplink")

    def check_account(
        self, grants: CapsuleGrants, principal: Principal, claimed: Principal
    ) -> Grant:
        """May what an account says be said for the principal that it is linked to?

        Asked after `check_publish_as`. What is done for a principal speaks for itself; for others
        only what is done for the owner, as the front ends' run loops are.

        Raises:
            CapabilityDeniedError: The principal may not act for the claimed one.
            PolicyDeniedError: A policy refused.

        Spec: kernel-and-security 16 D-12.
        """
        request = AuthzRequest(
            principal, "uplink.speak-for", f"principal:{claimed}", grants.capsule
        )
        if not may_speak_for(principal, claimed):
            raise self._refuse(
                request,
                rule="claim.principal",
                message=f"what is done for {principal!r} cannot speak for {claimed!r}",
                hint="hand it in from the run loop, which acts for the owner",
            )
        return self._ask_policies(request, rule="claim.principal")
