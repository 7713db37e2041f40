"""Checks of the local sockets of capsules: who may have one, and who may talk to it.

A client is judged twice: by the user whose process it is, before it has said anything, and by what
it says. Policies are asked once, when the capsule begins to listen.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from astrid_core.domain.handshake import AUTHENTICATION_FAILED, Hello, check_hello
from astrid_core.security.decider import Decider, Grant
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.authz import AuthzRequest
from astrid_hookspecs.errors import CapabilityDeniedError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal

WHERE: Final = "unix"
_ACCEPT: Final = "net.accept"


class LocalChecks(Decider):
    """Decides about local sockets."""

    def check_local_socket(self, grants: CapsuleGrants, principal: Principal) -> Grant:
        """May the capsule listen at a local socket of its own?

        Raises:
            CapabilityDeniedError: It holds no entry of `net_bind`.
            PolicyDeniedError: A policy refused.

        Spec: host-abi 12.1.
        """
        request = AuthzRequest(principal, "net.bind", WHERE, grants.capsule)
        if grants.net_bind:
            return self._ask_policies(request, rule="net_bind")
        raise self._refuse(
            request,
            rule="net_bind",
            message=f"capsule {grants.capsule!r} may not listen at a local socket",
            hint='add net_bind = ["*"] below [capabilities] in its Capsule.toml',
        )

    def check_local_peer(
        self, grants: CapsuleGrants, *, peer_uid: int | None, own_uid: int
    ) -> None:
        """May a process of this user talk to the capsule?

        Args:
            grants: Of the capsule.
            peer_uid: Whose process it is; None when the system does not tell.
            own_uid: Of the kernel.

        Raises:
            CapabilityDeniedError: It is another user's, or nobody knows.

        Spec: kernel-and-security 3.2.
        """
        if peer_uid is None or peer_uid != own_uid:
            raise self._refuse_client(grants, "net_bind.user", "another user's process")

    def check_local_hello(
        self,
        grants: CapsuleGrants,
        hello: Hello | None,
        *,
        token: bytes,
        listening: Collection[Principal],
    ) -> Principal:
        """May who said this talk to the capsule, and for whom?

        Args:
            grants: Of the capsule.
            hello: What it said; None for what is no handshake, or came too late.
            token: Of this boot, 32 bytes.
            listening: For whom the capsule takes clients.

        Returns:
            For whom it acts; one of `listening`.

        Raises:
            CapabilityDeniedError: It may not. The message is for the client, and the same for
                every token that is wrong.

        Spec: kernel-and-security 3.4.
        """
        if hello is None:
            raise self._refuse_client(grants, "net_bind.handshake", "that is no handshake")
        verdict = check_hello(hello, token=token)
        if verdict.principal is None:
            is_token = verdict.reason == AUTHENTICATION_FAILED
            rule = "net_bind.token" if is_token else "net_bind.handshake"
            raise self._refuse_client(grants, rule, verdict.reason)
        if verdict.principal not in listening:
            message = f"the capsule listens for nobody called {verdict.principal!r}"
            raise self._refuse_client(
                grants, "net_bind.principal", message, principal=verdict.principal
            )
        return verdict.principal

    def _refuse_client(
        self,
        grants: CapsuleGrants,
        rule: str,
        message: str,
        *,
        principal: Principal = DEFAULT_PRINCIPAL,
    ) -> CapabilityDeniedError:
        return self._refuse(
            AuthzRequest(principal, _ACCEPT, WHERE, grants.capsule),
            rule=rule,
            message=message,
            hint="clients read the token in run/system.token of the home",
        )
