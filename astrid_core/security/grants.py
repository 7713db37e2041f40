"""What a capsule's manifest lets it do, in the form the gate checks against."""

from __future__ import annotations

from dataclasses import dataclass

from astrid_core.domain.file_pattern import FilePattern
from astrid_hookspecs.values import CapsuleId


@dataclass(frozen=True, slots=True)
class CapsuleGrants:
    """Derived once from a validated manifest; everything not listed is refused.

    Attributes:
        capsule: Whose grants these are.
        publish: Effective publish ACL; patterns of matcher A. Spec: capsules-and-bus 1.6.
        subscribe: Effective subscribe ACL, likewise.
        uplink: `capabilities.uplink`: may publish as others and use reserved topics.
        identity: What it may do to users and accounts: `resolve`, `link`, `admin`.
        fs_read: What it may read. Spec: host-abi 5.2.
        fs_write: What it may change; does not include reading.
        host_process: Which commands it may start; entries as written. Spec: host-abi 13.2.
        mcp_elicitation: Ids of its tool servers that may ask people; `*` for each.
        mcp_sampling: The same, that may ask models.
        any_host: Whether `net` has `*`: it may reach every host. Ours for processes, of which
            nobody can tell whom they talk to.
        persistent: `capabilities.allow_persistent`: processes may outlive their call.
        net: Hosts of its requests. Spec: kernel-and-security 11.
        net_connect: Endpoints of its connections, `host:port`.
        net_tcp_bind: Where it may listen, `host:port`.
        net_udp: What its datagram sockets may do, `bind:host:port` and `send:host:port`.
        net_bind: Whether it may listen at a local socket of its own.
        capabilities: Names of the capabilities that are not empty or false, for
            `check-capsule-capability`. Spec: host-abi 14.
    """

    capsule: CapsuleId
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    uplink: bool = False
    identity: tuple[str, ...] = ()
    fs_read: tuple[FilePattern, ...] = ()
    fs_write: tuple[FilePattern, ...] = ()
    host_process: tuple[str, ...] = ()
    mcp_elicitation: tuple[str, ...] = ()
    mcp_sampling: tuple[str, ...] = ()
    any_host: bool = False
    persistent: bool = False
    net: tuple[str, ...] = ()
    net_connect: tuple[str, ...] = ()
    net_tcp_bind: tuple[str, ...] = ()
    net_udp: tuple[str, ...] = ()
    net_bind: bool = False
    capabilities: frozenset[str] = frozenset()
