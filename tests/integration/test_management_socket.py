"""Management requests through the socket of a daemon in a process of its own.

The numbers are those of the test vectors in kernel-and-security 15.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from astrid_core.domain.admin_request import ADMIN_METHODS, parse_admin_request
from astrid_core.domain.kernel_request import METHODS, KernelRequest
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.reader import Query, entries
from tests.support.daemon import STATUS, Client, Daemon, daemon_home
from tests.support.management import EXAMPLES


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with daemon_home() as running:
        running.start()
        yield running


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with daemon.connect() as connected:
        yield connected


def manage(client: Client, suffix: str, payload: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The answer on the response topic of a suffix."""
    client.send(f"astrid.v1.admin.{suffix}", {"type": "raw_json", **payload}, **more)
    while True:
        message = client.receive()
        assert message is not None
        if message["topic"] == f"astrid.v1.admin.response.{suffix}":
            return message["payload"]  # type: ignore[no-any-return]


def test_71_an_agent_is_created_through_the_socket(client: Client, daemon: Daemon) -> None:
    request = {"method": "AgentCreate", "params": {"name": "alice"}, "request_id": "r1"}
    answer = manage(client, "agent.create", request)
    assert (answer["request_id"], answer["status"]) == ("r1", "Success")
    assert answer["data"]["principal"] == "alice"
    assert (daemon.home / "home/alice/.local/capsules").is_dir()
    assert (daemon.home / "etc/profiles/alice.toml").stat().st_mode & 0o777 == 0o600


def test_64_the_suffix_decides_where_the_answer_goes(client: Client) -> None:
    assert manage(client, "anything.at.all", {"method": "GroupList"})["status"] == "GroupList"


def test_66_a_malformed_request_is_answered(client: Client) -> None:
    answer = manage(client, "agent.list", {"method": "Nope", "request_id": "r2"})
    assert (answer["status"], answer["code"]) == ("Error", "request.unknown-method")
    assert answer["request_id"] == "r2"
    client.send("astrid.v1.admin.agent.list", {"type": "custom", "data": 1})
    message = client.receive()
    assert message is not None
    assert message["payload"]["code"] == "request.malformed"


def test_an_agent_may_not_what_the_owner_may(client: Client, daemon: Daemon) -> None:
    manage(client, "x", {"method": "AgentCreate", "params": {"name": "dora"}})
    request = {"method": "AgentCreate", "params": {"name": "eve"}}
    as_frame = manage(client, "agent.create", request, principal="dora")
    with daemon.connect(principal="dora") as own:
        as_connection = manage(own, "agent.create", request)
        raised = manage(own, "agent.create", request, principal="default")
    for answer in (as_frame, as_connection):
        assert (answer["code"], answer["rule"]) == ("denied.capability", "agent:create")
    assert raised["rule"] == "connection.principal"
    assert not (daemon.home / "etc/profiles/eve.toml").exists()
    places = AuditPlaces(daemon.home / "var/audit")
    denied = [*entries(places, Query(principal="dora", outcome="denied"))]
    assert len(denied) == 3


def test_a_change_applies_to_the_next_request(client: Client, daemon: Daemon) -> None:
    manage(client, "x", {"method": "AgentCreate", "params": {"name": "carl"}})
    with daemon.connect(principal="carl") as own:
        assert own.ask("GetStatus")["rule"] == "system:status"
        right = {"principal": "carl", "capabilities": ["system:status"]}
        manage(client, "x", {"method": "CapsGrant", "params": right})
        assert own.ask("GetStatus")["status"] == "Status"
        manage(client, "x", {"method": "AgentDisable", "params": {"principal": "carl"}})
        assert own.ask("GetStatus")["rule"] == "profile.enabled"


def test_answers_of_the_kernel_are_not_requests(daemon: Daemon, client: Client) -> None:
    manage(client, "x", {"method": "AgentCreate", "params": {"name": "fred"}})
    with daemon.connect(principal="fred") as own:
        own.send("astrid.v1.admin.response.agent.create", STATUS)
        message = own.receive()
        assert message is not None
        assert message["payload"]["rule"] == "reserved-topic"


@pytest.fixture(scope="module")
def powerless(daemon: Daemon) -> Iterator[Client]:
    """A connection of an agent without any right."""
    with daemon.connect() as owner:
        manage(owner, "x", {"method": "AgentCreate", "params": {"name": "nil", "groups": ["none"]}})
        rights = {"principal": "nil", "capabilities": ["self:*"]}
        manage(owner, "x", {"method": "CapsRevoke", "params": rights})
        manage(owner, "x", {"method": "AgentCreate", "params": {"name": "bob"}})
    with daemon.connect(principal="nil") as connected:
        yield connected


def denials(daemon: Daemon, method: str) -> list[dict[str, Any]]:
    places = AuditPlaces(daemon.home / "var/audit")
    rows = entries(places, Query(principal="nil", outcome="denied"))
    return [row for row in rows if row["action"]["resource"] == method]  # type: ignore[index]


@pytest.mark.parametrize("method", METHODS)
def test_every_kernel_request_is_denied_without_its_right_and_recorded(
    daemon: Daemon, powerless: Client, method: str
) -> None:
    right = METHODS[method].right
    answer = powerless.ask(method, params={"name": "a.b", "pattern": "a.*"})
    revoked = right.startswith("self:")
    assert answer["rule"] == ("revokes:self:*" if revoked else right)
    assert right in answer["data"]
    (denial,) = denials(daemon, method)
    assert denial["authorization"]["reason"] == answer["rule"]  # type: ignore[index]


@pytest.mark.parametrize("method", ADMIN_METHODS)
def test_every_management_request_is_denied_without_its_right_and_recorded(
    daemon: Daemon, powerless: Client, method: str
) -> None:
    params = EXAMPLES[method]
    right = parse_admin_request(KernelRequest(method, params, None)).right_of("nil")
    answer = manage(powerless, "x", {"method": method, "params": params})
    assert answer["rule"] == ("revokes:self:*" if right.startswith("self:") else right)
    (denial,) = denials(daemon, ADMIN_METHODS[method].name)
    assert denial["authorization"]["reason"] == answer["rule"]  # type: ignore[index]
