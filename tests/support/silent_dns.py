"""A machine of its own for a moment, whose DNS server hears every question and never answers.

Run in new network and mount namespaces. Prints one JSON object: what look-ups of several agents
came to, and how many threads waited for the server.
"""

from __future__ import annotations

import json
import socket
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from astrid_core.host import net
from astrid_core.host.capsule import CapsuleHost
from astrid_core.host.context import CapsuleContext
from astrid_core.host.http_network import MAX_LOOKUPS, Network
from astrid_core.host.instance import Instance
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.engines import Call, CapsuleSpec, Limits, WitError
from astrid_hookspecs.values import CapsuleId, Principal
from tests.support.dns_world import asking_here
from tests.support.guest_services import guest_services

NAME = "nobody-answers.test"


class Records:
    """An audit log that takes everything."""

    def append(self, _entry: AuditEntry, *, durable: bool = False) -> None:
        """Taken."""


def instance_of(services: Any, principal: str, capsule: str) -> Instance:
    """An instance with a call entered."""
    name = CapsuleId(capsule)
    spec = CapsuleSpec(
        id=name,
        version="1.0.0",
        source_id="11111111-2222-4333-8444-555555555555",
        directory=Path("unused"),
    )
    grants = CapsuleGrants(name, net_connect=(f"{NAME}:1",))
    context = CapsuleContext(spec=spec, grants=grants, owner=Principal("default"))
    made = CapsuleHost(context, services=services).open_instance(
        Principal(principal), purpose="call"
    )
    made.enter(Call(Principal(principal), Limits()), deadline=None)
    return made


def look_up(instance: Instance) -> str:
    """The error case of a look-up."""
    handler = instance.handler("astrid:net/host@1.0.0", "lookup-host")
    try:
        return str(handler(NAME)) if handler else "there is no such function"
    except WitError as error:
        return error.case


def waiting() -> int:
    """Threads that wait for the system's resolver."""
    return sum(thread.name == "astrid-lookup" for thread in threading.enumerate())


def main() -> None:
    """Ask as two agents with three capsules, until the resolver has given up."""
    net.LOOKUP_S = 0.01  # type: ignore[misc]  # nobody waits long here
    with ExitStack() as release, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        release.enter_context(asking_here())
        server.bind(("127.0.0.1", 53))
        base = Path(release.enter_context(tempfile.TemporaryDirectory()))
        network = Network()
        services = guest_services(base, release, decisions=[], audit=Records(), network=network)
        one, other = (instance_of(services, "alice", name) for name in ("one", "other"))
        first = [look_up(one) for _ in range(MAX_LOOKUPS)]
        found = {"alice": first, "other": look_up(other), "threads": waiting()}
        found["bob"] = look_up(instance_of(services, "bob", "one"))
        deadline = time.monotonic() + 20
        while waiting() and time.monotonic() < deadline:
            time.sleep(0.05)
        json.dump({**found, "left": waiting(), "later": look_up(other)}, sys.stdout)


if __name__ == "__main__":
    main()
