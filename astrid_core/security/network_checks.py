"""Checks of where capsules send requests and connect to.

Two questions, always both: may the capsule talk to this name, and does the name lead to an address
that it may reach. The second one is asked about the very address that is connected to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from astrid_core.domain.egress import EgressRule, datagram_matches, endpoint_matches, host_matches
from astrid_core.domain.ip_ranges import IpAddress, blocked_range
from astrid_core.security.checked import GATE_KEY, CheckedAddress
from astrid_core.security.decider import Decider, Grant
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.authz import AuthzRequest
from astrid_hookspecs.errors import CapabilityDeniedError
from astrid_hookspecs.values import Principal

LOCAL_EGRESS = "network.local-egress"
"""The rule that refuses addresses inside."""


class NetworkChecks(Decider):
    """Decides about the network."""

    def check_http(
        self, grants: CapsuleGrants, principal: Principal, *, scheme: str, host: str, port: int
    ) -> Grant:
        """May the capsule send a request to this host? Asked for every hop of a redirect.

        Args:
            grants: Of the capsule.
            principal: Effective principal.
            scheme: `http` or `https`.
            host: As the parsed URL has it: lower case, IPv6 without brackets.
            port: For policies; entries of the manifest do not look at it.

        Raises:
            CapabilityDeniedError: No entry of `net` covers the host.
            PolicyDeniedError: A policy refused.

        Spec: kernel-and-security 11; host-abi 7.1.
        """
        request = AuthzRequest(
            principal, "http.request", f"{scheme}://{endpoint(host, port)}", grants.capsule
        )
        for entry in grants.net:
            if host_matches(host, entry):
                return self._ask_policies(request, rule=f"net:{entry}")
        raise self._refuse(
            request,
            rule="net",
            message=f"capsule {grants.capsule!r} may not send requests to {host!r}",
            hint=f"add {json.dumps(host)} to net below [capabilities] in its Capsule.toml",
        )

    def check_connect(
        self, grants: CapsuleGrants, principal: Principal, *, host: str, port: int | None
    ) -> Grant:
        """May the capsule connect to this endpoint, or, without a port, look the name up?

        Raises:
            CapabilityDeniedError: No entry of `net_connect` covers it.
            PolicyDeniedError: A policy refused.

        Spec: kernel-and-security 11; host-abi 12.1.
        """
        verb = "net.lookup" if port is None else "net.connect"
        where = host if port is None else endpoint(host, port)
        request = AuthzRequest(principal, verb, where, grants.capsule)
        for entry in grants.net_connect:
            if endpoint_matches(host, port, entry):
                return self._ask_policies(request, rule=f"net_connect:{entry}")
        raise self._refuse(
            request,
            rule="net_connect",
            message=f"capsule {grants.capsule!r} may not connect to {where!r}",
            hint=f"add {json.dumps(endpoint(host, port or 443))} to net_connect below "
            "[capabilities] in its Capsule.toml",
        )

    def check_listen(
        self, grants: CapsuleGrants, principal: Principal, *, host: str, port: int
    ) -> Grant:
        """May the capsule listen for TCP connections there?

        Raises:
            CapabilityDeniedError: No entry of `net_tcp_bind` covers it.
            PolicyDeniedError: A policy refused.

        Spec: host-abi 12.1, H-28.
        """
        where = endpoint(host, port)
        request = AuthzRequest(principal, "net.bind", f"tcp://{where}", grants.capsule)
        for entry in grants.net_tcp_bind:
            if endpoint_matches(host, port, entry):
                return self._ask_policies(request, rule=f"net_tcp_bind:{entry}")
        raise self._refuse(
            request,
            rule="net_tcp_bind",
            message=f"capsule {grants.capsule!r} may not listen on {where!r}",
            hint=f"add {json.dumps(where)} to net_tcp_bind below [capabilities] in its "
            "Capsule.toml",
        )

    def check_datagrams(
        self, grants: CapsuleGrants, principal: Principal, *, verb: str, host: str, port: int
    ) -> Grant:
        """May the capsule have a UDP socket there, or send a datagram to there?

        Args:
            grants: Of the capsule.
            principal: Effective principal.
            verb: `bind` or `send`.
            host: Of the socket, or of the receiver.
            port: The same.

        Raises:
            CapabilityDeniedError: No entry of `net_udp` covers it.
            PolicyDeniedError: A policy refused.

        Spec: host-abi 12.1, 12.3, H-28.
        """
        where = endpoint(host, port)
        request = AuthzRequest(principal, f"net.{verb}", f"udp://{where}", grants.capsule)
        for entry in grants.net_udp:
            if datagram_matches(host, port, entry, verb=verb):
                return self._ask_policies(request, rule=f"net_udp:{entry}")
        raise self._refuse(
            request,
            rule="net_udp",
            message=f"capsule {grants.capsule!r} may not {verb} datagrams: {where!r}",
            hint=f"add {json.dumps(f'{verb}:{where}')} to net_udp below [capabilities] in its "
            "Capsule.toml",
        )

    def check_address(
        self,
        grants: CapsuleGrants,
        principal: Principal,
        address: IpAddress,
        port: int,
        *,
        grant: Grant,
        host: str,
        consent: Iterable[EgressRule],
    ) -> CheckedAddress:
        """May what a name led to be connected to?

        Args:
            grants: Of the capsule.
            principal: Effective principal.
            address: One of the resolver's answers, or the address that stood in the URL.
            port: Of the connection.
            grant: That the capsule may talk to the host.
            host: The name.
            consent: Local targets that the operator opened to capsules.

        Raises:
            CapabilityDeniedError: The address is inside and nobody consented to it.

        Spec: host-abi 12.4.
        """
        inside = blocked_range(address)
        if inside is None:
            return CheckedAddress(address, port, host, grant.rule, GATE_KEY)
        for rule in consent:
            if rule.covers(address, port):
                return CheckedAddress(address, port, host, f"{LOCAL_EGRESS}:{rule}", GATE_KEY)
        raise self._refuse_address(grants, principal, address, port, inside=inside)

    def check_some_address(
        self,
        grants: CapsuleGrants,
        principal: Principal,
        addresses: Sequence[IpAddress],
        port: int,
        *,
        grant: Grant,
        host: str,
        consent: Iterable[EgressRule],
    ) -> list[CheckedAddress]:
        """Which of the addresses of a name may be connected to? As `check_address`, each of them.

        Args:
            grants: Of the capsule.
            principal: Effective principal.
            addresses: The resolver's answers, at least one.
            port: Of the connection.
            grant: That the capsule may talk to the host.
            host: The name.
            consent: Local targets that the operator opened to capsules.

        Returns:
            At least one, in the same order.

        Raises:
            CapabilityDeniedError: None of them.
        """
        checked: list[CheckedAddress] = []
        refusal: CapabilityDeniedError | None = None
        allowed = tuple(consent)
        for address in addresses:
            try:
                one = self.check_address(
                    grants, principal, address, port, grant=grant, host=host, consent=allowed
                )
            except CapabilityDeniedError as error:
                refusal = error
            else:
                checked.append(one)
        if refusal is not None and not checked:
            raise refusal
        return checked

    def _refuse_address(
        self,
        grants: CapsuleGrants,
        principal: Principal,
        address: IpAddress,
        port: int,
        *,
        inside: str,
    ) -> CapabilityDeniedError:
        where = endpoint(str(address), port)
        return self._refuse(
            AuthzRequest(principal, "net.address", where, grants.capsule),
            rule=LOCAL_EGRESS,
            message=f"{where} is inside ({inside}): capsules reach the open internet only",
            hint=f"an operator can consent: local_egress = [{json.dumps(where)}] below [network] "
            "in etc/config.toml",
        )


def endpoint(host: str, port: int) -> str:
    """`host:port`, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
