"""What host functions ask the gate, as a Protocol: `astrid_core.security.gate.Gate` is one.

Answers that an operation has to show are proofs; the others only do not raise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

from astrid_core.domain.egress import EgressRule
from astrid_core.domain.file_pattern import FilePlace
from astrid_core.domain.ip_ranges import IpAddress
from astrid_core.security.checked import (
    CheckedAddress,
    CheckedCommand,
    CheckedPath,
    FileAccess,
)
from astrid_core.security.decider import Grant
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.values import Principal


class Gate(Protocol):
    """Decides; every refusal is a `DeniedError`. `astrid_core.security.gate.Gate` is one."""

    def check_publish(self, grants: CapsuleGrants, principal: Principal, topic: str) -> object:
        """May the capsule publish on the topic?"""
        ...

    def check_request(
        self, grants: CapsuleGrants, principal: Principal, topic: str, *, method: str | None
    ) -> object:
        """May the capsule make this kernel request?"""
        ...

    def check_publish_as(
        self, grants: CapsuleGrants, principal: Principal, claimed: Principal, *, enabled: bool
    ) -> object:
        """May the capsule speak for somebody else, who is enabled or not?"""
        ...

    def check_claim(
        self, grants: CapsuleGrants, principal: Principal, claimed: Principal, topic: str
    ) -> object:
        """May what it says on the topic be said for the claimed one?"""
        ...

    def check_subscribe(self, grants: CapsuleGrants, principal: Principal, pattern: str) -> object:
        """May the capsule receive what matches the pattern?"""
        ...

    def report_excess(
        self, grants: CapsuleGrants, principal: Principal, action: str, *, rule: str
    ) -> None:
        """Put on record that what the capsule did was more than the principal may use."""
        ...

    def check_process(
        self,
        grants: CapsuleGrants,
        principal: Principal,
        argv: Sequence[str],
        *,
        allowed: Sequence[str],
        network: bool,
    ) -> CheckedCommand:
        """May the capsule start the command?"""
        ...

    def check_persistent(self, grants: CapsuleGrants, principal: Principal) -> object:
        """May processes of the capsule outlive the call that started them?"""
        ...

    def check_http(
        self, grants: CapsuleGrants, principal: Principal, *, scheme: str, host: str, port: int
    ) -> Grant:
        """May the capsule send requests to the host?"""
        ...

    def check_connect(
        self, grants: CapsuleGrants, principal: Principal, *, host: str, port: int | None
    ) -> Grant:
        """May the capsule connect to the endpoint, or look the name up?"""
        ...

    def check_listen(
        self, grants: CapsuleGrants, principal: Principal, *, host: str, port: int
    ) -> object:
        """May the capsule listen for TCP connections there?"""
        ...

    def check_datagrams(
        self, grants: CapsuleGrants, principal: Principal, *, verb: str, host: str, port: int
    ) -> Grant:
        """May the capsule have a UDP socket there, or send to there?"""
        ...

    def check_local_socket(self, grants: CapsuleGrants, principal: Principal) -> object:
        """May the capsule listen at a local socket of its own?"""
        ...

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
        """May what the name led to be connected to?"""
        ...

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
        """Which of what the name led to may be connected to? At least one."""
        ...

    def check_file(
        self, grants: CapsuleGrants, principal: Principal, access: FileAccess, place: FilePlace
    ) -> CheckedPath:
        """May the capsule read or change the place?"""
        ...

    def check_identity(
        self,
        grants: CapsuleGrants,
        principal: Principal,
        action: str,
        *,
        resource: str,
    ) -> object:
        """May the capsule do this to users and accounts?"""
        ...

    def check_uplink(
        self, grants: CapsuleGrants, principal: Principal, action: str, *, resource: str
    ) -> object:
        """May the capsule be a front end?"""
        ...

    def check_account(
        self, grants: CapsuleGrants, principal: Principal, claimed: Principal
    ) -> object:
        """May what an account says be said for the principal that it is linked to?"""
        ...

    def check_server_command(
        self, grants: CapsuleGrants, principal: Principal, command: str, *, enabled: bool
    ) -> Grant:
        """May the capsule start this program as its server?"""
        ...

    def check_server_url(
        self, grants: CapsuleGrants, principal: Principal, url: str, *, enabled: bool
    ) -> Grant:
        """May the capsule use this server elsewhere?"""
        ...

    def check_server_question(
        self,
        grants: CapsuleGrants,
        principal: Principal,
        server: str,
        *,
        of: Literal["people", "models"],
        enabled: bool,
    ) -> object:
        """May a server of the capsule ask people, or models?"""
        ...
