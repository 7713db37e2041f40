"""A question about what leaves the kernel: what decides it, and where names lead.

Names are looked up, as the action itself would, because what a name leads to decides as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from astrid_core.domain.allowance import Allowance
from astrid_core.domain.ip_ranges import IpAddress, parse_address
from astrid_core.host.http_network import Network
from astrid_core.kernel.principals.authority import Authority
from astrid_core.kernel.principals.explain_steps import CapsuleQuestion, Step
from astrid_core.security.checked import CheckedAddress
from astrid_core.security.gate import Grant
from astrid_hookspecs.authz import AuthzRequest
from astrid_hookspecs.engines import McpServerSpec
from astrid_hookspecs.errors import ConfigError
from astrid_hookspecs.values import CapsuleId, Principal


@dataclass(frozen=True, slots=True)
class Outside:
    """What decides besides manifest, profile and policies.

    Attributes:
        network: Looks names up, and knows to which local targets the operator consented.
        processes_network: Whether processes may use the network at all.
        servers_of: The tool servers of an installed capsule.
        allowances_of: What people agreed to, for a principal, oldest first.
        root: The workspace that an agreement may be for.
        now: Unix seconds.
    """

    network: Network = field(default_factory=Network)
    processes_network: bool = False
    servers_of: Callable[[CapsuleId], Sequence[McpServerSpec]] = lambda _capsule: ()
    allowances_of: Callable[[Principal], Sequence[Allowance]] = lambda _principal: ()
    root: str | None = None
    now: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Case:
    """One question with all that decides.

    Attributes:
        asked: Who would do what.
        outside: What decides besides.
        authority: Profiles and groups.
    """

    asked: CapsuleQuestion
    outside: Outside
    authority: Authority

    def granted(self, action: str, rule: str) -> Grant:
        """Proof for what the gate has no proof of its own kind for."""
        acting, principal, resource = self.asked.acting, self.asked.principal, self.asked.resource
        return Grant(AuthzRequest(principal, action, resource, acting.capsule), rule)

    def addresses(self, host: str, port: int) -> list[IpAddress]:
        """Where the name leads now; empty when nobody knows, which is said."""
        literal = parse_address(host)
        if literal is not None:
            return [literal]
        try:
            found = self.outside.network.look_up(self.asked.principal, host, port)
        except OSError:
            found = []
        if not found:
            text = "cannot be looked up now: where it leads was not judged"
            self.asked.steps.append(Step(f"name {host}", "silent", text))
        return found

    def judged(self, found: Sequence[CheckedAddress]) -> None:
        """Write down what was allowed; what was refused is written down by the gate."""
        steps = self.asked.steps
        steps += [Step(f"address {one.address}", "allows", f"rule {one.rule}") for one in found]

    def reach_all(self, host: str, port: int, grant: Grant, *, most: int | None = None) -> Grant:
        """All addresses have to be good, as for connections and datagrams.

        Args:
            host: The name.
            port: Of the connection.
            grant: That the capsule may talk to the host.
            most: How many addresses are tried at most; None for all.

        Raises:
            CapabilityDeniedError: One is not.
        """
        gate, acting, principal, _resource, _steps = self.asked
        rule = grant.rule
        for address in self.addresses(host, port)[:most]:
            checked = gate.check_address(
                acting,
                principal,
                address,
                port,
                grant=grant,
                host=host,
                consent=self.outside.network.consent,
            )
            self.judged([checked])
            rule = checked.rule
        return grant._replace(rule=rule)

    def reach_some(self, host: str, port: int, grant: Grant) -> Grant:
        """One good address is enough, as for requests.

        Raises:
            CapabilityDeniedError: None is.
        """
        gate, acting, principal, _resource, _steps = self.asked
        found = self.addresses(host, port)
        if not found:
            return grant
        checked = gate.check_some_address(
            acting,
            principal,
            found,
            port,
            grant=grant,
            host=host,
            consent=self.outside.network.consent,
        )
        self.judged(checked)
        return grant._replace(rule=checked[0].rule)


def senseless(resource: str, hint: str) -> ConfigError:
    """What is raised about a resource that makes no sense."""
    message = f"{resource!r} is no resource of this action"
    return ConfigError(message, code="explain.resource", hint=hint)
