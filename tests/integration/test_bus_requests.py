"""Requests that capsules publish: answered with the rights of the principal they act for."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_core.kernel.audit.reader import Row
from tests.support.capsules import install, manifest, write_capsule
from tests.support.daemon import Client, Daemon, daemon_home, prepare
from tests.support.guests import publishing

GO = {"type": "custom", "data": {}}
CAPSULES = {
    # name: topic, method, uplink, claimed principal
    "status": ("astrid.v1.request.status", "GetStatus", False, ""),
    "lists": ("astrid.v1.request.lists", "ListCapsules", False, ""),
    "nothing": ("astrid.v1.request.nothing", "Nope", True, ""),
    "calls": ("astrid.v1.request.calls", "CallTool", True, ""),
    "stops": ("astrid.v1.request.stops", "Shutdown", False, ""),
    "claims": ("astrid.v1.request.claims", "GetStatus", True, "default"),
    "lowers": ("astrid.v1.request.lowers", "GetStatus", True, "mallory"),
    "manages": ("astrid.v1.admin.agent.list", "AgentList", True, ""),
    "sneaks": ("astrid.v1.admin.agent.list", "AgentList", False, ""),
}


def manifest_of(name: str) -> str:
    topic, _, uplink, _ = CAPSULES[name]
    body = f'[publish]\n"{topic}" = {{ wit = "opaque" }}\n'
    body += f'[subscribe]\n"go.v1.{name}" = {{ wit = "opaque", handler = "go" }}\n'
    return manifest(name, body=body + ("[capabilities]\nuplink = true\n" if uplink else ""))


async def install_all(kernel: Kernel) -> None:
    with tempfile.TemporaryDirectory() as directory:
        for name, (topic, method, _, claimed) in CAPSULES.items():
            payload = f'{{"type":"raw_json","method":"{method}","request_id":"{name}"}}'
            guest = publishing(topic, payload, claimed=claimed)
            await install(kernel, write_capsule(Path(directory) / name, guest, manifest_of(name)))


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with daemon_home() as running:
        prepare(running.home, install_all)
        running.start()
        yield running


def go(client: Client, name: str) -> dict[str, Any]:
    """Make the capsule ask, and wait for the answer that is published for this principal."""
    pattern = (
        "astrid.v1.admin.response.*" if "admin" in CAPSULES[name][0] else "astrid.v1.response.*"
    )
    assert client.ask("Subscribe", params={"pattern": pattern})["status"] == "Success"
    client.send(f"go.v1.{name}", GO)
    message = client.receive()
    assert message is not None
    assert message["topic"] == CAPSULES[name][0].replace(".request.", ".response.").replace(
        ".admin.", ".admin.response."
    )
    payload: dict[str, Any] = message["payload"]
    assert payload["request_id"] == name
    return payload


def test_the_owners_capsule_asks_with_the_owners_rights(daemon: Daemon) -> None:
    with daemon.connect() as owner:
        answer = go(owner, "status")
        assert answer["status"] == "Status"
        assert answer["data"]["pid"] == daemon.running.pid
        assert go(owner, "lists")["data"] == sorted(CAPSULES)


def test_an_agents_capsule_asks_with_the_agents_rights(daemon: Daemon) -> None:
    with daemon.connect(principal="alice") as alice:
        answer = go(alice, "status")
    assert (answer["status"], answer["rule"]) == ("Error", "system:status")
    row = daemon.records(action="kernel.request", principal="alice")[-1]
    assert (row["outcome"], row["action"]["resource"]) == ("denied", "GetStatus")


def test_what_makes_no_sense_on_the_bus_is_answered_and_not_recorded(daemon: Daemon) -> None:
    before = len(daemon.records(action="admin_request"))
    with daemon.connect() as owner:
        for name in ("nothing", "calls"):
            assert go(owner, name)["code"] == "request.unknown-method"
        asked = 2  # the subscriptions of this test
    assert len(daemon.records(action="admin_request")) == before + asked


def test_management_is_for_uplinks(daemon: Daemon) -> None:
    with daemon.connect() as owner:
        answer = go(owner, "manages")
        assert answer["status"] == "AgentList"
    refused_before_it_is_published(daemon, "sneaks", "reserved-topic")


def test_what_changes_something_is_for_uplinks(daemon: Daemon) -> None:
    refused_before_it_is_published(daemon, "stops", "reserved-topic")


def refused_before_it_is_published(daemon: Daemon, name: str, rule: str, **more: str) -> None:
    """The capsule asks, is refused by the gate, and nobody hears of a request."""
    before = len(denied(daemon, name))
    with daemon.connect(**more) as client:  # type: ignore[arg-type]
        client.send(f"go.v1.{name}", GO)
        while len(denied(daemon, name)) == before:
            client.ask("Nope")
    assert {row["authorization"]["reason"] for row in denied(daemon, name)[before:]} == {rule}
    assert daemon.running.poll() is None


def denied(daemon: Daemon, capsule: str) -> list[Row]:
    rows = daemon.records(action="bus.*") + daemon.records(action="kernel.*")
    return [
        row
        for row in rows
        if row["outcome"] == "denied" and row["action"].get("capsule") == capsule
    ]


def test_a_claim_may_lower_the_rights_of_a_request_and_never_raise_them(daemon: Daemon) -> None:
    with daemon.connect(principal="mallory") as mallory, daemon.connect() as owner:
        pattern = {"pattern": "astrid.v1.response.*"}
        assert mallory.ask("Subscribe", params=pattern)["status"] == "Success"
        owner.send("go.v1.lowers", GO)
        message = mallory.receive()
        assert message is not None
        assert message["payload"]["rule"] == "system:status"
    refused_before_it_is_published(daemon, "claims", "claim.principal", principal="mallory")
