"""The protocol of the local socket, spoken with a daemon in a process of its own.

The numbers are those of the test vectors in kernel-and-security 15.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from typing import cast

import pytest

from astrid_core.daemon.client import DaemonClient
from astrid_core.daemon.client_errors import RemoteError
from astrid_core.daemon.connection import MAX_BUSY
from tests.support.daemon import STATUS, Client, Daemon, daemon_home, install_tools, prepare

WRONG = "ab" * 32


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with daemon_home() as running:
        prepare(running.home, install_tools)
        running.start()
        yield running


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with daemon.connect() as connected:
        yield connected


@pytest.fixture
def stranger(daemon: Daemon) -> Iterator[Client]:
    """A client that has not said anything yet."""
    with Client(daemon.socket) as connected:
        yield connected


def token_of(daemon: Daemon) -> str:
    return daemon.token.read_text()


def test_15_a_stock_handshake_is_answered(daemon: Daemon, stranger: Client) -> None:
    body = json.dumps(
        {"token": token_of(daemon), "protocol_version": 1, "client_version": "0.7.0"},
        separators=(",", ":"),
    ).encode()
    stranger.send_bytes(struct.pack(">I", len(body)) + body)
    answer = stranger.receive()
    assert answer is not None
    assert answer.keys() == {"status", "protocol_version", "server_version"}
    assert (answer["status"], answer["protocol_version"], len(body)) == ("ok", 1, 122)


def test_16_the_version_is_looked_at_before_the_token(stranger: Client) -> None:
    answer = stranger.hello(WRONG, version=2)
    assert answer is not None
    assert answer["status"] == "error"
    assert "version 2" in answer["reason"]
    assert stranger.receive() is None


@pytest.mark.parametrize("token", ["a" * 63, "z" * 64, WRONG, ""])
def test_17_every_wrong_token_is_answered_alike(stranger: Client, token: str) -> None:
    answer = stranger.hello(token)
    assert answer is not None
    assert (answer["status"], answer["reason"]) == ("error", "authentication failed")
    assert stranger.receive() is None


def test_18_a_token_in_upper_case_is_right(daemon: Daemon, stranger: Client) -> None:
    answer = stranger.hello(token_of(daemon).upper())
    assert answer is not None
    assert answer["status"] == "ok"


@pytest.mark.parametrize("version", [256, "1", -1, 1.5, None])
def test_19_a_version_that_is_no_byte_closes(daemon: Daemon, version: object) -> None:
    with Client(daemon.socket) as client:
        assert client.hello(token_of(daemon), version=version) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x00\x10\x01",
        b"\xff\xff\xff\xff",
        struct.pack(">I", 11) + b'{"token":1}',
        struct.pack(">I", 0),
        struct.pack(">I", 4) + b"null",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        struct.pack(">I", 4000) + b"[" * 4000,
    ],
    ids=["19-too-long", "longest", "21-no-text", "empty", "null", "http", "nested"],
)
def test_what_is_no_handshake_closes_without_an_answer(stranger: Client, data: bytes) -> None:
    stranger.send_bytes(data)
    assert stranger.receive() is None


def test_23_a_frame_above_the_limit_closes(client: Client) -> None:
    client.send_bytes(struct.pack(">I", 10 * 1024 * 1024 + 1))
    assert client.receive() is None


def test_24_a_frame_without_a_principal_is_the_connections(client: Client) -> None:
    assert client.ask("GetStatus")["status"] == "Status"


def test_25_a_malformed_principal_is_refused(client: Client) -> None:
    answer = client.ask("GetStatus", principal="bad name")
    assert (answer["status"], answer["code"]) == ("Error", "principal.invalid")


@pytest.mark.parametrize("suffix", ["status", "foo", "a.b.c"])
def test_63_64_the_answer_comes_on_the_topic_of_the_request(client: Client, suffix: str) -> None:
    answer = client.ask("GetStatus", suffix=suffix)
    assert answer["status"] == "Status"
    assert answer["data"]["ephemeral"] is False


def test_status_tells_about_the_process_and_its_clients(daemon: Daemon, client: Client) -> None:
    with daemon.connect(principal="alice"):
        data = client.ask("GetStatus")["data"]
    assert data["pid"] == daemon.running.pid
    assert data["connected_clients"] == len(data["clients"]) == 2
    assert data["connections_by_principal"] == [
        {"principal": "alice", "count": 1},
        {"principal": "default", "count": 1},
    ]
    assert data["loaded_capsules"] == ["echo", "spinner"]
    assert [row["tools"] for row in data["capsules"]] == [1, 1]


def test_65_absent_and_null_params_are_the_same(client: Client) -> None:
    assert client.ask("ListCapsules")["data"] == ["echo", "spinner"]
    client.send("astrid.v1.request.x", {"type": "raw_json", "method": "ListCapsules"})
    message = client.receive()
    assert message is not None
    assert message["payload"] == {"status": "Success", "data": ["echo", "spinner"]}


def test_the_other_lists(client: Client) -> None:
    assert client.ask("GetCommands") == {"status": "Commands", "data": [], "request_id": "r1"}
    metadata = client.ask("GetCapsuleMetadata")
    assert metadata["status"] == "CapsuleMetadata"
    assert metadata["data"][0] == {
        "name": "echo",
        "interceptor_events": ["tool.v1.execute.echo"],
        "questions": [],
    }
    tools = client.ask("ListTools")["data"]
    assert [(tool["name"], tool["capsule"]) for tool in tools] == [
        ("echo", "echo"),
        ("spin", "spinner"),
    ]


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"type": "raw_json", "method": "Nope"}, "request.unknown-method"),
        ({"type": "raw_json"}, "request.malformed"),
        ({"type": "raw_json", "method": 7}, "request.malformed"),
        ({"type": "raw_json", "method": "GetStatus", "params": []}, "request.malformed"),
        ({"type": "custom", "data": {"method": "GetStatus"}}, "request.malformed"),
        ({"type": "raw_json", "method": "CallTool"}, "request.params"),
        ({"method": "GetStatus"}, "payload.untagged"),
    ],
    ids=["66-unknown", "no-method", "number", "params", "custom", "no-name", "untagged"],
)
def test_what_is_no_request_is_answered_and_not_recorded(
    daemon: Daemon, client: Client, payload: object, code: str
) -> None:
    before = len(daemon.records(action="admin_request"))
    client.send("astrid.v1.request.x", payload)
    message = client.receive()
    assert message is not None
    assert message["topic"] == "astrid.v1.response.x"
    assert (message["payload"]["status"], message["payload"]["code"]) == ("Error", code)
    assert len(daemon.records(action="admin_request")) == before


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'"x"', b"\xff", b'{"payload":{}}', b'{"topic":7}', b"[" * 9000]
)
def test_a_frame_that_says_nowhere_where_to_answer_closes(client: Client, body: bytes) -> None:
    client.send_body(body)
    assert client.receive() is None


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"text": json.loads("[" * 200 + "]" * 200)}, "payload.too-deep"),
        ({"text": "x" * 4 * 1024 * 1024}, "denied.quota"),
        ({f"k{number}": 1 for number in range(130_000)}, "denied.quota"),
    ],
    ids=["deep", "long", "keys"],
)
@pytest.mark.slow
def test_who_asks_with_a_frame_that_is_refused_unread_hears_of_it(
    daemon: Daemon, client: Client, arguments: object, code: str
) -> None:
    answer = client.call("echo", arguments)
    assert (answer["status"], answer["code"]) == ("Error", code)
    with (
        DaemonClient.connect(daemon.home) as ours,
        pytest.raises(RemoteError) as caught,
    ):
        ours.call_tool("echo", cast("dict[str, object]", arguments))
    assert caught.value.code == code


@pytest.mark.parametrize("request_id", [b"7", b"null", b'"%b"' % (b"x" * 129)])
def test_an_id_that_is_none_is_not_echoed_either(client: Client, request_id: bytes) -> None:
    client.send_body(
        b'{"topic":"astrid.v1.request.x","source_id":7,"payload":{"type":"raw_json","request_id":%b}}'
        % request_id
    )
    message = client.receive()
    assert message is not None
    assert message["topic"] == "astrid.v1.response.x"
    assert "request_id" not in message["payload"]


def test_frames_arrive_whole_whatever_the_pieces_are(client: Client) -> None:
    body = json.dumps(
        {"topic": "astrid.v1.request.x", "payload": STATUS, "source_id": "0" * 32}
    ).encode()
    frame = struct.pack(">I", len(body)) + body
    for byte in frame:
        client.send_bytes(bytes([byte]))
    client.send_bytes(frame * 3)
    for _ in range(4):
        message = client.receive()
        assert message is not None
        assert message["payload"]["status"] == "Status"


def test_a_tool_is_called_and_that_is_recorded(daemon: Daemon, client: Client) -> None:
    before = len(daemon.records(action="capsule_tool_call"))
    answer = client.call("echo", {"text": "hello"})
    assert answer["status"] == "ToolResult"
    assert answer["data"]["content"] == "hello"
    assert answer["data"]["is_error"] is False
    assert answer["data"]["capsule"] == "echo"
    assert len(daemon.records(action="capsule_tool_call")) == before + 1


def test_calls_of_one_client_overlap(client: Client) -> None:
    for number in range(200):
        client.send(
            "astrid.v1.request.x",
            {
                "type": "raw_json",
                "method": "CallTool",
                "params": {"name": "echo", "arguments": {"text": str(number)}},
                "request_id": str(number),
            },
        )
    answers = {}
    for _ in range(200):
        message = client.receive()
        assert message is not None
        answers[message["payload"]["request_id"]] = message["payload"]["data"]["content"]
    assert answers == {str(number): str(number) for number in range(200)}


def test_a_tool_that_nobody_offers(client: Client) -> None:
    answer = client.call("ecko", {"text": "x"})
    assert (answer["status"], answer["code"]) == ("Error", "tool.not-found")
    assert "'echo'" in answer["hint"]


@pytest.mark.parametrize(
    "params",
    [
        {"name": "echo", "arguments": 1},
        {"name": 1},
        {"name": "echo", "timeout_s": 0},
        {"name": "echo", "timeout_s": True},
        {"name": "echo", "timeout_s": 1e9},
    ],
)
def test_malformed_calls_are_refused(client: Client, params: object) -> None:
    assert client.ask("CallTool", params=params)["code"] == "request.params"


def test_a_call_that_takes_too_long_is_stopped(client: Client) -> None:
    answer = client.call("spin", params={"timeout_s": 0.2})
    assert (answer["status"], answer["code"]) == ("Error", "tool.timeout")
    assert client.call("echo", {"text": "next"})["data"]["content"] == "next"
    wait_for_cancelled(client, 1)


def test_a_client_that_leaves_stops_its_calls(daemon: Daemon, client: Client) -> None:
    before = cancelled(client)
    with daemon.connect() as other:
        other.send(
            "astrid.v1.request.x",
            {"type": "raw_json", "method": "CallTool", "params": {"name": "spin"}},
        )
        wait_for_active(client)
    wait_for_cancelled(client, before + 1)


@pytest.mark.parametrize("calls", [MAX_BUSY - 1, MAX_BUSY, MAX_BUSY + 1])
@pytest.mark.slow
def test_a_client_that_leaves_stops_its_calls_however_many_there_are(
    daemon: Daemon, client: Client, calls: int
) -> None:
    payload = {"type": "raw_json", "method": "CallTool", "params": {"name": "spin"}}
    with daemon.connect(principal="gone") as leaving:
        for _ in range(calls):
            leaving.send("astrid.v1.request.x", payload)
        wait_for_active(client)
    deadline = time.monotonic() + 15
    while spinner(client)["active"] or len(client.ask("GetStatus")["data"]["clients"]) > 1:
        assert time.monotonic() < deadline


def test_events_reach_those_who_subscribed(daemon: Daemon, client: Client) -> None:
    with daemon.connect() as other:
        assert client.ask("Subscribe", params={"pattern": "user.v1.*"})["status"] == "Success"
        other.send("user.v1.prompt", {"type": "custom", "data": {"text": "hi"}})
        message = client.receive()
        assert message is not None
        assert (message["topic"], message["payload"]) == ("user.v1.prompt", {"text": "hi"})
        gone = client.ask("Unsubscribe", params={"pattern": "user.v1.*"})
        assert gone["data"]["was_subscribed"] is True
        other.send("user.v1.prompt", {"type": "custom", "data": {}})
        other.ask("ListCapsules")
        assert client.ask("ListCapsules")["status"] == "Success"


@pytest.mark.parametrize("pattern", ["**", "a..b", "*.x", "", "a" * 300, "ä"])
def test_malformed_patterns_are_refused(client: Client, pattern: str) -> None:
    assert client.ask("Subscribe", params={"pattern": pattern})["status"] == "Error"


def test_a_connection_has_so_many_subscriptions(client: Client) -> None:
    for number in range(128):
        pattern = f"many.v1.n{number}"
        assert client.ask("Subscribe", params={"pattern": pattern})["status"] == "Success"
    refused = client.ask("Subscribe", params={"pattern": "many.v1.more"})
    assert (refused["status"], refused["rule"]) == ("Error", "subscriptions")


@pytest.mark.parametrize("topic", ["astrid.v1.capsules_loaded", "a..b", "x" * 300, "a b", "tööl"])
def test_messages_that_nobody_may_send(client: Client, topic: str) -> None:
    client.send(topic, {"type": "custom", "data": {}})
    message = client.receive()
    assert message is not None
    assert message["topic"] == "astrid.v1.response.error"
    assert message["payload"]["status"] == "Error"


def test_68_reloads_are_counted_and_refused_on_the_response_topic(
    daemon: Daemon, client: Client
) -> None:
    before = len(daemon.records(action="admin_request"))
    answers = [client.ask("ReloadCapsules") for _ in range(6)]
    assert [answer["status"] for answer in answers] == ["Success"] * 5 + ["Error"]
    assert answers[0]["data"]["status"] == "reloaded"
    assert answers[5]["rule"] == "requests-per-minute"
    assert 0 < answers[5]["details"]["retry_after_ms"] <= 60_000
    assert len(daemon.records(action="admin_request")) == before + 5


def test_a_failed_request_is_recorded_twice(daemon: Daemon, client: Client) -> None:
    answer = client.ask("InstallCapsule", params={"source": "/nowhere/at/all"})
    assert answer["status"] == "Error"
    rows = daemon.records(action="admin_request")[-2:]
    assert [(row["action"]["method"], row["outcome"]) for row in rows] == [
        ("InstallCapsule", "allowed"),
        ("InstallCapsule", "failed"),
    ]


def cancelled(client: Client) -> int:
    return spinner(client)["cancelled"]


def spinner(client: Client) -> dict[str, int]:
    (row,) = [c for c in client.ask("GetStatus")["data"]["capsules"] if c["capsule"] == "spinner"]
    return row


def wait_for_active(client: Client) -> None:
    while spinner(client)["active"] == 0:
        pass


def wait_for_cancelled(client: Client, count: int) -> None:
    while cancelled(client) < count or spinner(client)["active"]:
        pass
