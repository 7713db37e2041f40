"""`astrid agent`, `group`, `caps` and `quota` in real processes, with a daemon and without.

Transcripts T-17 to T-21 of cli-and-ux 17, as far as they concern these commands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.reader import Query, entries
from tests.support.commands import run_astrid
from tests.support.daemon import daemon_home, short_directory


class Ended(NamedTuple):
    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


class Cli:
    """Runs `astrid` on one home."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *arguments: str, typed: str | None = None) -> Ended:
        environment = {"ASTRID_HOME": str(self.home), "NO_COLOR": "1"}
        done = run_astrid(*arguments, cwd=Path.cwd(), env=environment, typed=typed or "")
        return Ended(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: str) -> Any:
        """What a command printed as JSON."""
        ended = self(*arguments, "--json")
        assert ended.status == 0, ended
        return ended.json

    def status(self, *arguments: str) -> int:
        return self(*arguments).status


@pytest.fixture
def served() -> Iterator[Cli]:
    """A home that a daemon has."""
    with daemon_home() as daemon:
        daemon.start()
        yield Cli(daemon.home)


@pytest.fixture
def alone() -> Iterator[Cli]:
    """A home that nobody has."""
    with short_directory() as directory:
        yield Cli(directory / "h")


@pytest.mark.slow
def test_t17_the_life_of_an_agent(served: Cli) -> None:
    created = served(
        *("agent", "create", "bob", "--group", "restricted", "--memory", "32MiB"),
        *("--timeout", "2m"),
    )
    assert created.status == 0
    assert created.stdout.splitlines() == ["✓ created agent bob", "    2 limits set"]
    (row,) = [row for row in served.ok("agent", "list") if row["principal"] == "bob"]
    assert (row["enabled"], row["groups"]) == (True, ["restricted"])
    refused = served("agent", "create", "carl", "--memory", "12parsecs")
    assert refused.status == 1
    assert "12parsecs" in refused.stderr
    assert served.status("agent", "show", "carl") == 1  # not half-made
    assert served.ok("agent", "disable", "bob")["changed"]
    assert "disabled" in served("--principal", "bob", "agent", "list").stderr
    assert served.ok("agent", "enable", "bob")["changed"]
    assert served.ok("agent", "modify", "bob", "--add-group", "agent")["changed"]
    assert not served.ok("agent", "modify", "bob", "--add-group", "agent")["changed"]
    assert served.status("agent", "modify", "bob") == 1
    refused = served("agent", "delete", "bob", typed="n\n")
    assert refused.status == 1
    assert "aborted." in refused.stderr
    assert served.ok("agent", "show", "bob")["enabled"]
    assert served.status("agent", "delete", "bob", "-y") == 0
    assert served.status("agent", "delete", "default", "-y") == 1
    assert served.status("agent", "disable", "default") == 1


@pytest.mark.slow
def test_t18_the_acting_agent_without_a_daemon(alone: Cli) -> None:
    assert alone("agent", "current").stdout == "default\n"
    assert alone.status("agent", "switch", "alice") == 0
    assert alone("agent", "current").stdout == "alice\n"
    assert alone("--principal", "default", "agent", "current").stdout == "default\n"
    assert alone("agent", "current").stdout == "alice\n"
    assert alone.status("--principal", "alice", "plugins", "list") == 1


@pytest.mark.slow
def test_t19_groups_and_rights(served: Cli) -> None:
    assert served.status("group", "create", "ops", "--caps", "system:status,capsule:list") == 0
    assert served.status("group", "create", "ops2") == 1
    assert served.status("group", "create", "god", "--caps", "*") == 1
    assert served.status("group", "create", "god", "--caps", "*", "--unsafe-admin") == 0
    assert served.status("group", "delete", "admin", "-y") == 1
    assert served.status("agent", "create", "dora", "--group", "ops") == 0
    held = served("caps", "check", "dora", "system:status")
    assert (held.status, held.stdout) == (0, "allowed: group ops has system:status\n")
    assert served.status("caps", "grant", "dora", "network:egress:example") == 0
    assert served.status("caps", "check", "dora", "network:egress:example") == 0
    assert served.status("caps", "revoke", "dora", "network:egress:*") == 0
    assert served.status("caps", "check", "dora", "network:egress:example") == 1
    rows = served.ok("caps", "show", "dora", "--effective")
    assert {"capability": "network:egress:example", "source": "grant", "status": "shadowed"} in rows
    assert served.status("caps", "unrevoke", "dora", "network:egress:*") == 0
    assert served.status("caps", "check", "dora", "network:egress:example") == 0
    assert served.status("caps", "grant", "dora", "*") == 2
    assert served.status("caps", "grant", "dora", "bad.dots") == 1
    assert served.status("group", "modify", "ops", "--remove-caps", "system:status") == 0
    assert served.status("caps", "check", "dora", "system:status") == 1
    asked = served("group", "delete", "ops", typed="no\n")
    assert asked.status == 1


@pytest.mark.slow
def test_t20_ordinary_agents_are_not_operators(served: Cli) -> None:
    served.ok("agent", "create", "dora")
    stopped = served("--principal", "dora", "stop")
    assert stopped.status == 1
    assert "system:shutdown" in stopped.stderr
    assert served.status("status") == 0
    created = served("--principal", "dora", "agent", "create", "eve")
    assert created.status == 1
    assert "agent:create" in created.stderr
    assert "astrid caps grant dora agent:create" in created.stderr
    assert served.status("--principal", "dora", "audit", "query") == 1
    places = AuditPlaces(served.home / "var/audit")
    assert len([*entries(places, Query(principal="dora", outcome="denied"))]) == 2


@pytest.mark.slow
def test_t21_limits(served: Cli) -> None:
    served.ok("agent", "create", "dora")
    named = ("--memory", "128MiB", "--timeout", "2h30m", "--ipc-rate", "5MiB/s")
    assert served.status("quota", "set", "-a", "dora", *named) == 0
    limits = served.ok("quota", "get", "-a", "dora")
    assert (limits["max_memory_bytes"], limits["max_timeout_secs"]) == (134_217_728, 9000)
    assert (limits["max_ipc_throughput_bytes"], limits["max_background_processes"]) == (
        5_242_880,
        8,
    )
    assert limits["usage"]["storage_bytes"] >= 0
    assert served.status("quota", "set", "-a", "dora", "--timeout", "25h") == 1
    assert served.status("quota", "set", "-a", "dora") == 1
    changes = [("--processes", str(number)) for number in range(1, 5)]
    changes += [("--memory", f"{number}MiB") for number in range(1, 5)]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda change: served("quota", "set", "-a", "dora", *change), changes))
    assert [ended.status for ended in done] == [0] * len(changes)
    limits = served.ok("quota", "get", "-a", "dora")
    assert limits["max_background_processes"] in range(1, 5)
    assert limits["max_memory_bytes"] in {number << 20 for number in range(1, 5)}


@pytest.mark.slow
def test_without_a_daemon_the_same_rules_hold_and_are_recorded(alone: Cli) -> None:
    assert alone.ok("agent", "create", "dora")["principal"] == "dora"
    refused = alone("--principal", "dora", "group", "create", "mine", "--caps", "self:x", "--json")
    assert refused.status == 1
    assert refused.json["error"]["rule"] == "group:create"
    assert [row["principal"] for row in alone.ok("--principal", "dora", "agent", "list")] == [
        "dora"
    ]
    places = AuditPlaces(alone.home / "var/audit")
    kinds = [json.loads(json.dumps(row))["outcome"] for row in entries(places, Query())]
    assert kinds.count("denied") == 1
    assert alone.status("audit", "verify") == 0
