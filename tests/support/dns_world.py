"""A machine of its own for a moment: a network namespace in which a DNS server answers for names.

Run in new network and mount namespaces. Prints one JSON object: what each request ended with, and
who was connected to. The names change what they answer, as those of an attacker do.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import socket
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from dnslib import AAAA, CNAME, QTYPE, RR, A, DNSRecord
from dnslib.server import BaseResolver, DNSLogger, DNSServer

from astrid_core.domain.egress import parse_egress
from astrid_core.host.http_network import Network
from tests.support.exchanges import outcome
from tests.support.web_server import WebServer

OPENED, CANARY, CANARY6 = "127.0.0.5", "127.0.0.1", "::1"
ANSWERS: dict[str, Callable[[], Iterator[list[str]]]] = {
    "inside.test.": lambda: itertools.repeat([CANARY]),
    "turns.test.": lambda: iter([[OPENED], *[[CANARY]] * 50]),
    "turns-back.test.": lambda: iter([[CANARY], *[[OPENED]] * 50]),
    "both.test.": lambda: itertools.repeat([CANARY, OPENED]),
    "metadata.test.": lambda: itertools.repeat(["169.254.169.254"]),
    "zero.test.": lambda: itertools.repeat(["0.0.0.0"]),  # noqa: S104 - an answer
    "six.test.": lambda: itertools.repeat([CANARY6]),
    "mapped.test.": lambda: itertools.repeat([f"::ffff:{CANARY}"]),
    "nat64.test.": lambda: itertools.repeat(["64:ff9b::7f00:1"]),
    "local.test.": lambda: itertools.repeat(["fe80::1", "fd00::1"]),
    "both-kinds.test.": lambda: itertools.repeat([CANARY6, OPENED]),
    "alias.test.": lambda: itertools.repeat(["inside.test.", CANARY]),
}


class Changing(BaseResolver):  # type: ignore[misc]  # the library has no types
    """Answers each question with the next of its answers."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self._answers = {name: make() for name, make in ANSWERS.items()}
        self._now: dict[str, list[str]] = {}

    def resolve(self, request: DNSRecord, _handler: object) -> DNSRecord:
        """Called by the server."""
        reply = request.reply()
        name = str(request.q.qname)
        if name not in self._answers or request.q.qtype not in (QTYPE.A, QTYPE.AAAA):
            return reply
        if request.q.qtype == QTYPE.A:
            self.asked[name] += 1
            self._now[name] = next(self._answers[name])
        for answer in self._now.get(name, ()):
            if answer.endswith("."):
                reply.add_answer(RR(name, QTYPE.CNAME, rdata=CNAME(answer), ttl=0))
                name = answer
            elif ":" in answer and request.q.qtype == QTYPE.AAAA:
                reply.add_answer(RR(name, QTYPE.AAAA, rdata=AAAA(answer), ttl=0))
            elif ":" not in answer and request.q.qtype == QTYPE.A:
                reply.add_answer(RR(name, QTYPE.A, rdata=A(answer), ttl=0))
        return reply


def raise_loopback() -> None:
    """A new namespace has a loopback device that is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        name = struct.pack("16sh", b"lo", 1)  # IFF_UP
        fcntl.ioctl(sock, 0x8914, name)  # SIOCSIFFLAGS


@contextlib.contextmanager
def asking_here() -> Iterator[None]:
    """The system's resolver asks this machine, once, for a second."""
    raise_loopback()
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        file.flush()
        mount = ["mount", "--bind", file.name, "/etc/resolv.conf"]
        subprocess.run(mount, check=True)
        yield


def main() -> None:
    """Ask for each name twice and report."""
    with asking_here():
        resolver = Changing()
        silent = DNSLogger(logf=lambda _: None)
        server = DNSServer(resolver, address="127.0.0.1", port=53, logger=silent)
        server.start_thread()
        json.dump(ask_all(resolver), sys.stdout)
        server.stop()


def ask_all(resolver: Changing) -> dict[str, Any]:
    """The outcome for each name, connections by server, and questions by name."""
    ok = {"/": lambda exchange: exchange.answer(b"reached")}
    canary, opened = WebServer(ok, address=CANARY), WebServer(ok, address=OPENED, port=8080)
    canary6 = WebServer(ok, address=CANARY6, port=8080)
    network = Network(consent=(parse_egress(f"{OPENED}:8080"),))
    outcomes = {}
    for name in [*ANSWERS, "nobody.test."]:
        url = f"http://{name.rstrip('.')}:8080/"
        outcomes[name] = [outcome(url, network) for _ in range(2)]
    outcomes["canary"] = [outcome(f"http://inside.test:{canary.port}/", network)]
    return {
        "outcomes": outcomes,
        "canary": canary.connections + canary6.connections,
        "opened": opened.connections,
        "asked": resolver.asked,
    }


if __name__ == "__main__":
    main()
