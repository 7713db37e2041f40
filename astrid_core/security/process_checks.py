"""Checks of the programs that capsules start."""

from __future__ import annotations

import json
from collections.abc import Sequence

from astrid_core.domain.command_pattern import covering
from astrid_core.security.checked import GATE_KEY, CheckedCommand
from astrid_core.security.decider import Decider, Grant
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.authz import AuthzRequest
from astrid_hookspecs.values import Principal


class ProcessChecks(Decider):
    """Decides about programs of the machine."""

    def check_process(
        self,
        grants: CapsuleGrants,
        principal: Principal,
        argv: Sequence[str],
        *,
        allowed: Sequence[str],
        network: bool,
    ) -> CheckedCommand:
        """May the capsule start the command?

        Args:
            grants: Of the capsule.
            principal: Effective principal.
            argv: Program and arguments, as the guest named them.
            allowed: `[process] allow` of the principal's profile; empty for no opinion. It can take
                away and never add.
            network: Whether the operator lets processes use the network at all. The capsule needs
                the right to reach any host besides: nobody can tell hosts apart for a process.

        Raises:
            CapabilityDeniedError: No entry of the manifest covers it, or none of the profile.
            PolicyDeniedError: A policy refused.

        Spec: host-abi 13.2; kernel-and-security 11, D-32.
        """
        request = AuthzRequest(
            principal,
            "process.spawn",
            argv[0],
            grants.capsule,
            {"arguments": json.dumps(list(argv[1:]), ensure_ascii=False)},
        )
        entry = covering(grants.host_process, argv)
        if entry is None:
            raise self._refuse(
                request,
                rule="host_process",
                message=f"capsule {grants.capsule!r} may not start {argv[0][:80]!r} like that",
                hint="add the program, or the program with its first words, to host_process below "
                "[capabilities] in its Capsule.toml",
            )
        if allowed and covering(allowed, argv) is None:
            raise self._refuse(
                request,
                rule="process.allow",
                message=f"capsules of {principal!r} may not start {argv[0][:80]!r}",
                hint=f"add it to allow below [process] in etc/profiles/{principal}.toml",
            )
        rule = self._ask_policies(request, rule=f"host_process:{entry}").rule
        return CheckedCommand(tuple(argv), network and grants.any_host, rule, GATE_KEY)

    def check_persistent(self, grants: CapsuleGrants, principal: Principal) -> Grant:
        """May processes of the capsule outlive the call that started them?

        Raises:
            CapabilityDeniedError: The manifest lacks `allow_persistent`.
            PolicyDeniedError: A policy refused.

        Spec: host-abi 13.5.
        """
        request = AuthzRequest(principal, "process.persist", "", grants.capsule)
        if not grants.persistent:
            raise self._refuse(
                request,
                rule="capabilities.allow_persistent",
                message=f"processes of capsule {grants.capsule!r} end with their call",
                hint="set allow_persistent = true below [capabilities] in its Capsule.toml",
            )
        return self._ask_policies(request, rule="capabilities.allow_persistent")
