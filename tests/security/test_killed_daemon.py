"""`kill -9` of a daemon under load: what a client was told is there, and the next one starts.

`ASTRID_KILL_ROUNDS` says how often; the default is for every run of the tests.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from astrid_core import Kernel
from astrid_core.domain.audit_commit import LogKey
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.reader import verify_log
from tests.support.capsules import install, write_capsule
from tests.support.daemon import ECHO_MANIFEST, Client, Daemon, daemon_home, prepare
from tests.support.guests import keeper

ROUNDS = int(os.environ.get("ASTRID_KILL_ROUNDS", "4"))
PRINCIPALS = ("default", "alice", "bob")


async def install_keeper(kernel: Kernel) -> None:
    with tempfile.TemporaryDirectory() as directory:
        await install(kernel, write_capsule(Path(directory), keeper(), ECHO_MANIFEST))


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with daemon_home() as made:
        prepare(made.home, install_keeper)
        yield made


class Writer:
    """Asks for one durable write after the other and remembers those that were acknowledged."""

    def __init__(
        self, daemon: Daemon, principal: str, prefix: str, enough: threading.Event
    ) -> None:
        self.principal = principal
        self.acknowledged: list[str] = []
        self.problem: str | None = None
        self._prefix = prefix
        self._enough = enough
        self._client = daemon.connect(principal=principal)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def join(self) -> None:
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while True:
            key = f"{self._prefix}-{len(self.acknowledged)}"
            try:
                answer = self._client.call("echo", {"text": key})
            except (ConnectionError, OSError):
                return
            if answer["status"] != "ToolResult":
                self.problem = str(answer)
                return
            self.acknowledged.append(key)
            if len(self.acknowledged) >= 5:
                self._enough.set()


def load(daemon: Daemon, round_number: int) -> list[Writer]:
    """Two connections for each principal, all of them writing; returns when some have written."""
    enough = threading.Event()
    writers = [
        Writer(daemon, principal, f"{round_number}-{number}", enough)
        for number, principal in enumerate(PRINCIPALS * 2)
    ]
    assert enough.wait(30)
    return writers


def half_done(daemon: Daemon) -> list[Client]:
    """Clients that are in the middle of something."""
    silent = Client(daemon.socket)
    partial = daemon.connect()
    partial.send_bytes(b"\x00\x00\x10\x00{")
    reload = daemon.connect()
    reload.send("astrid.v1.request.x", {"type": "raw_json", "method": "ReloadCapsules"})
    return [silent, partial, reload]


def check_state(daemon: Daemon, kept: dict[str, set[str]]) -> None:
    async def look(kernel: Kernel) -> None:
        assert kernel.problems == []
        for principal, keys in kept.items():
            for key in keys:
                value = kernel.read_state("echo", key, principal=principal)
                assert value == key.encode(), f"{principal} lost {key}"

    prepare(daemon.home, look)


def check_log(daemon: Daemon, kept: dict[str, set[str]]) -> None:
    key = LogKey((daemon.home / "keys/runtime.key").read_bytes())
    log = AuditPlaces(daemon.home / "var/audit")
    verdicts = verify_log(log, keys=[key.public], own=key)
    assert {verdict.condition for verdict in verdicts} <= {"intact", "torn-tail"}
    recorded = {
        (row["principal"], row["action"]["args_hash"])
        for row in daemon.records(action="capsule_tool_call")
    }
    for principal, keys in kept.items():
        for key in keys:
            digest = blake3(b'{"text":"%b"}' % key.encode()).hexdigest()
            assert (principal, digest) in recorded, f"the call of {principal} with {key} is lost"


@pytest.mark.slow
@pytest.mark.timeout(60 + 10 * ROUNDS)
def test_nothing_that_was_acknowledged_is_lost(daemon: Daemon) -> None:
    chance = random.Random(4)  # noqa: S311 - places to kill at, no secrets
    kept: dict[str, set[str]] = {principal: set() for principal in PRINCIPALS}
    for number in range(ROUNDS):
        daemon.start()  # over what the one before left in run/
        writers = load(daemon, number)
        others = half_done(daemon)
        threading.Event().wait(chance.uniform(0, 0.05))  # in the middle of whatever it is
        daemon.kill()
        for writer in writers:
            writer.join()
            assert writer.problem is None
            kept[writer.principal].update(writer.acknowledged)
        for client in others:
            client.close()
        assert daemon.socket.exists()
        assert daemon.ready.exists()
        if number % 10 == 0:
            check_log(daemon, kept)
    check_log(daemon, kept)
    check_state(daemon, kept)
    sys.stdout.write(f"\n{ROUNDS} kills, {sum(map(len, kept.values()))} acknowledged writes\n")
    daemon.start()
    with daemon.connect() as client:
        assert client.call("echo", {"text": "last"})["data"]["content"] == "last"
