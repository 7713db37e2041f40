"""Clients that want more than their share of a daemon, or to be somebody else."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from astrid_core.daemon.connection import MAX_BUSY
from astrid_core.daemon.router import MAX_SUBSCRIPTIONS
from astrid_core.daemon.server import MAX_CONNECTIONS, MAX_OF_ONE
from astrid_core.domain.payload import MAX_PAYLOAD_BYTES
from astrid_core.kernel.audit.reader import Row
from astrid_hookspecs.values import NIL_SOURCE
from tests.support.capsules import answering, manifest, write_capsule
from tests.support.daemon import Client, Daemon, daemon_home, install_tools, prepare

EVENT = {"type": "custom", "data": {"text": "x"}}


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with daemon_home() as running:
        prepare(running.home, install_tools)
        running.start()
        yield running


@pytest.fixture
def honest(daemon: Daemon) -> Iterator[Client]:
    with daemon.connect() as client:
        yield client


@pytest.fixture(autouse=True)
def still_served(daemon: Daemon) -> Iterator[None]:
    """Whatever a test does, the daemon serves the next client."""
    yield
    with daemon.connect() as client:
        assert client.call("echo", {"text": "alive"})["data"]["content"] == "alive"


def write_profile(daemon: Daemon, principal: str, text: str) -> None:
    path = daemon.home / f"etc/profiles/{principal}.toml"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text(text)


def denials(daemon: Daemon, **query: str) -> list[Row]:
    return [row for row in daemon.records(**query) if row["outcome"] == "denied"]


def message(client: Client) -> dict[str, Any]:
    found = client.receive()
    assert found is not None
    return found


@pytest.mark.parametrize("named", ["default", "bob", "alice2"])
def test_a_frame_cannot_claim_another_principal(daemon: Daemon, named: str) -> None:
    before = len(denials(daemon, action="client.*"))
    with daemon.connect(principal="alice") as alice:
        for answer in (
            alice.ask("GetStatus", principal=named),
            alice.ask("Shutdown", principal=named),
            alice.call("echo", {"text": "x"}, principal=named),
        ):
            assert (answer["status"], answer["rule"]) == ("Error", "connection.principal")
        alice.send("user.v1.prompt", EVENT, principal=named)
        assert message(alice)["payload"]["rule"] == "connection.principal"
        assert alice.ask("ListTools", principal="alice")["status"] in {"Tools", "Error"}
    rows = denials(daemon, action="client.*")[before:]
    found = [(row["principal"], row["action"]["resource"]) for row in rows]
    assert found == [("alice", f"principal:{named}")] * 4


def test_a_name_that_is_no_principal_is_none(daemon: Daemon) -> None:
    with daemon.connect(principal="alice") as alice:
        for named in ("", "Default\x00", "../default", "a" * 65, "default "):
            assert alice.ask("GetStatus", principal=named)["status"] == "Error"


@pytest.mark.parametrize("principal", ["", "a/b", "..", "a" * 65, "bad name"])
def test_a_handshake_cannot_name_what_is_no_principal(daemon: Daemon, principal: str) -> None:
    with Client(daemon.socket) as client:
        answer = client.hello(daemon.token.read_text(), principal=principal)
        assert answer is not None
        assert answer["status"] == "error"
        assert client.receive() is None


def test_the_owner_may_speak_for_others_who_gain_nothing_by_it(honest: Client) -> None:
    assert honest.ask("GetStatus", principal="alice")["rule"] == "system:status"
    assert honest.ask("GetStatus")["status"] == "Status"


def test_who_spoke_for_whom_is_on_record_once(daemon: Daemon, honest: Client) -> None:
    for _ in range(3):
        honest.ask("ListCapsules", principal="spoken")
    with daemon.connect(principal="spoken") as own:
        own.ask("ListCapsules", principal="spoken")
    rows = daemon.records(action="client.speak-for", principal="default")
    mine = [row for row in rows if row["action"]["resource"] == "principal:spoken"]
    assert [row["outcome"] for row in mine] == ["allowed"]
    assert mine[0]["authorization"]["reason"] == "connection.principal"
    assert daemon.records(action="client.speak-for", principal="spoken") == []


@pytest.mark.parametrize(
    ("method", "rule"),
    [
        ("GetStatus", "system:status"),
        ("Shutdown", "system:shutdown"),
    ],
)
def test_67_who_lacks_a_right_is_refused_and_that_is_recorded(
    daemon: Daemon, method: str, rule: str
) -> None:
    with daemon.connect(principal="mallory") as mallory:
        answer = mallory.ask(method)
    assert (answer["status"], answer["code"], answer["rule"]) == (
        "Error",
        "denied.capability",
        rule,
    )
    row = denials(daemon, action="kernel.request", principal="mallory")[-1]
    assert row["action"]["resource"] == method
    assert row["authorization"] == {"type": "denied", "reason": rule}


def test_65_a_member_of_agent_lists_what_there_is(daemon: Daemon) -> None:
    write_profile(daemon, "grace", 'groups = ["agent"]\n')
    with daemon.connect(principal="grace") as agent:
        answer = agent.ask("ListCapsules")
    assert (answer["status"], answer["data"]) == ("Success", ["echo", "spinner"])


def test_70_an_install_of_an_agent_is_recorded_as_allowed_and_as_failed(daemon: Daemon) -> None:
    write_profile(daemon, "heidi", 'groups = ["agent"]\n')
    with daemon.connect(principal="heidi") as agent:
        answers = [
            agent.ask("InstallCapsule", params={"source": source})
            for source in ("/nowhere", "/etc")
        ]
    # It is for everybody, and agents do not even learn what there is.
    assert [answer["rule"] for answer in answers] == ["capsule:install"] * 2
    rows = daemon.records(principal="heidi", action="admin_request")
    assert [row["outcome"] for row in rows] == ["allowed", "failed"] * 2


def test_what_is_installed_asks_for_no_more_than_was_agreed_to(
    daemon: Daemon, honest: Client
) -> None:
    body = '[publish]\n"a.v1.b" = { wit = "opaque" }\n'
    source = write_capsule(daemon.directory / "s", answering("continue"), manifest("s", body=body))
    params: dict[str, object] = {"source": str(source.path)}
    refused = honest.ask("InstallCapsule", params=params)
    assert refused["code"] == "capsule.consent"
    sentence = refused["data"].removeprefix("s asks to ")
    more = body + '"c.v1.d" = { wit = "opaque" }\n'  # as if it was swapped since it was shown
    write_capsule(source.path, answering("continue"), manifest("s", body=more))
    params["agreed"] = [sentence]
    refused = honest.ask("InstallCapsule", params=params)
    assert refused["code"] == "capsule.consent"
    assert sentence not in refused["data"]
    write_capsule(source.path, answering("continue"), manifest("s", body=body))
    assert honest.ask("InstallCapsule", params=params)["data"]["outcome"] == "installed"
    assert "s" in honest.ask("ListCapsules")["data"]
    params["agreed"] = "yes"
    assert honest.ask("InstallCapsule", params=params)["code"] == "request.params"


def test_a_disabled_principal_can_do_nothing(daemon: Daemon) -> None:
    with daemon.connect(principal="carol") as carol:
        assert carol.call("echo", {"text": "x"})["status"] == "ToolResult"
        write_profile(daemon, "carol", "enabled = false\n")
        assert carol.call("echo", {"text": "x"})["rule"] == "profile.enabled"
        assert carol.ask("ListTools")["rule"] == "profile.enabled"
        assert carol.ask("Subscribe", params={"pattern": "user.v1.*"})["rule"] == "profile.enabled"
        carol.send("user.v1.prompt", EVENT)
        assert message(carol)["payload"]["rule"] == "profile.enabled"
    assert denials(daemon, action="kernel.request", principal="carol")


def test_who_is_disabled_hears_nothing_more_until_that_is_over(
    daemon: Daemon, honest: Client
) -> None:
    write_profile(daemon, "dave", "enabled = true\n")
    with daemon.connect(principal="dave") as dave:
        assert dave.ask("Subscribe", params={"pattern": "user.v1.*"})["status"] == "Success"
        for number, profile in enumerate(["", "enabled = false\n", "]", "revokes = []\n"]):
            write_profile(daemon, "dave", profile)
            honest.send("user.v1.prompt", {"type": "custom", "data": number}, principal="dave")
            if number in {1, 2}:  # the sender is told as well
                assert message(honest)["payload"]["status"] == "Error"
            honest.ask("ListCapsules")
        assert [message(dave)["payload"] for _ in range(2)] == [0, 3]


def test_who_may_not_subscribe_any_more_hears_nothing_more(daemon: Daemon, honest: Client) -> None:
    write_profile(daemon, "erin", "")
    with daemon.connect(principal="erin") as erin:
        assert erin.ask("Subscribe", params={"pattern": "user.v1.*"})["status"] == "Success"
        for number, profile in enumerate(["", 'revokes = ["self:bus:subscribe"]\n', ""]):
            write_profile(daemon, "erin", profile)
            honest.send("user.v1.prompt", {"type": "custom", "data": number}, principal="erin")
            honest.ask("ListCapsules")
        assert [message(erin)["payload"] for _ in range(2)] == [0, 2]
    assert denials(daemon, action="kernel.request", principal="erin")


def test_nobody_hears_what_concerns_others(daemon: Daemon, honest: Client) -> None:
    with daemon.connect(principal="alice") as alice, daemon.connect(principal="bob") as bob:
        for client in (alice, bob, honest):
            assert client.ask("Subscribe", params={"pattern": "user.v1.*"})["status"] == "Success"
            result = client.ask("Subscribe", params={"pattern": "tool.v1.execute.*"})
            assert result["status"] == "Success"
        alice.send("user.v1.prompt", {"type": "custom", "data": "alice's"})
        assert message(alice)["payload"] == "alice's"
        assert alice.call("echo", {"text": "secret"})["status"] == "ToolResult"
        bob.send("user.v1.prompt", {"type": "custom", "data": "bob's"})
        assert message(bob)["payload"] == "bob's"
        honest.send("user.v1.prompt", {"type": "custom", "data": "own"})
        assert message(honest)["payload"] == "own"


def test_what_a_person_typed_is_heard_by_no_other_client(daemon: Daemon, honest: Client) -> None:
    with daemon.connect() as other:
        for pattern in ("user.v1.*", "astrid.v1.*", "astrid.v1.elicit.response.e1"):
            assert other.ask("Subscribe", params={"pattern": pattern})["status"] == "Success"
        answer = {"type": "elicit_response", "request_id": NIL_SOURCE, "value": "hunter2"}
        honest.send("astrid.v1.elicit.response.e1", answer)
        honest.send("user.v1.prompt", EVENT)
        assert message(other)["topic"] == "user.v1.prompt"
    assert honest.ask("ListCapsules", suffix="next")["status"] == "Success"


@pytest.mark.parametrize(
    "topic",
    [
        "astrid.v1.approval.response.r1",
        "astrid.v1.elicit.response.r1",
        "astrid.v1.admin.agent.create",
        "client.v1.connect",
        "astrid.v1.response.x",
        "astrid.v1.health.failed",
    ],
)
def test_no_agent_says_what_only_the_kernel_or_the_owner_says(daemon: Daemon, topic: str) -> None:
    with daemon.connect(principal="alice") as alice:
        alice.send(topic, {"type": "raw_json", "method": "AgentList"})
        answer = message(alice)["payload"]
        assert answer["status"] == "Error"


def test_who_does_not_read_loses_events_and_the_others_do_not(
    daemon: Daemon, honest: Client
) -> None:
    text = "x" * 60_000
    with daemon.connect() as slow, daemon.connect() as sender:
        for client in (slow, honest):
            assert client.ask("Subscribe", params={"pattern": "user.v1.*"})["status"] == "Success"
        for number in range(60):  # 3.6 MB: more than the sockets and the queue hold
            sender.send("user.v1.prompt", {"type": "custom", "data": [number, text]})
            assert message(honest)["payload"][0] == number
        rows = sender.ask("GetStatus")["data"]["clients"]
        lost = sum(row["events_lost"] for row in rows)
        assert lost > 0
        heard, notices = 0, 0
        while heard + notices < 60:
            found = message(slow)
            if found["topic"] == "astrid.v1.event_bus.lagged":
                notices += found["payload"]["lagged_count"]
            else:
                heard += 1
        assert notices == lost
        assert slow.ask("ListCapsules")["status"] == "Success"


def test_who_reads_no_answers_is_not_read_and_the_others_are(
    daemon: Daemon, honest: Client
) -> None:
    with daemon.connect(timeout_s=1.0) as slow:
        request = {
            "type": "raw_json",
            "method": "CallTool",
            "params": {"name": "echo", "arguments": {"text": "y" * 50_000}},
        }
        sent = 0
        # It is not read any more, or sent away when too many answers are waiting for it.
        with contextlib.suppress(TimeoutError, BrokenPipeError, ConnectionResetError):
            for _ in range(400):  # 20 MB there and as much back
                slow.send("astrid.v1.request.x", request)
                sent += 1
        assert sent < 400
        assert honest.call("echo", {"text": "x"})["data"]["content"] == "x"


def test_what_a_client_asked_that_has_gone_is_not_worked_off(
    daemon: Daemon, honest: Client
) -> None:
    write_profile(daemon, "gina", 'groups = ["admin"]\n')
    body = b'{"topic":"astrid.v1.request.x","source_id":"%b","payload":%b}' % (
        NIL_SOURCE.encode(),
        b'{"type":"raw_json","method":"GetStatus"}',
    )
    asked = 1500  # with their answers more than the system and the daemon keep for a client
    with daemon.connect(principal="gina") as client:
        client.send_bytes((struct.pack(">I", len(body)) + body) * asked)
        done, before = len(daemon.records(principal="gina")), -1
        while done != before:  # until it has to read before more is done
            before = done
            for _ in range(20):
                honest.call("echo", {"text": "x"})
            done = len(daemon.records(principal="gina"))
        assert 0 < done < asked
    wait_for_clients(honest, 1)
    assert len(daemon.records(principal="gina")) <= done + MAX_BUSY


def test_pipelining_gives_no_more_subscriptions(daemon: Daemon) -> None:
    with daemon.connect(principal="alice") as alice:
        for number in range(MAX_SUBSCRIPTIONS + 100):
            payload = {
                "type": "raw_json",
                "method": "Subscribe",
                "params": {"pattern": f"many.v1.n{number}"},
            }
            alice.send("astrid.v1.request.x", payload)
        answers = [message(alice)["payload"] for _ in range(MAX_SUBSCRIPTIONS + 100)]
        assert [a["status"] for a in answers].count("Success") == MAX_SUBSCRIPTIONS
        assert {a["rule"] for a in answers if a["status"] == "Error"} == {"subscriptions"}


def test_so_many_connections_and_no_more(daemon: Daemon, honest: Client) -> None:
    token = daemon.token.read_text()
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_OF_ONE):
            stack.enter_context(daemon.connect(principal="alice"))
        one_more = stack.enter_context(Client(daemon.socket))
        answer = one_more.hello(token, principal="alice")
        assert answer is not None
        assert answer["status"] == "error"
        assert "too many connections" in answer["reason"]
        assert one_more.receive() is None
        open_now = honest.ask("GetStatus")["data"]["connected_clients"]
        for _ in range(MAX_CONNECTIONS - open_now):
            stack.enter_context(daemon.connect())
        last = stack.enter_context(Client(daemon.socket))
        answer = last.hello(token)
        assert answer is not None
        assert answer["reason"] == "too many connections"
        assert honest.ask("ListCapsules")["status"] == "Success"
    wait_for_clients(honest, 1)


def test_silent_connections_keep_nobody_out(daemon: Daemon, honest: Client) -> None:
    files = daemon.open_files()
    with contextlib.ExitStack() as stack:
        for _ in range(150):
            silent = stack.enter_context(Client(daemon.socket))
            silent.send_bytes(b"\x00\x00")
        with daemon.connect_in_a_crowd() as late:
            assert late.ask("ListCapsules")["status"] == "Success"
        assert honest.ask("ListCapsules")["status"] == "Success"
    while daemon.open_files() > files:
        honest.ask("ListCapsules")


def test_a_wrong_token_is_worth_nothing_afterwards(daemon: Daemon) -> None:
    with Client(daemon.socket) as client:
        client.hello("0" * 64)
        with contextlib.suppress(BrokenPipeError):
            client.hello(daemon.token.read_text())
        assert client.receive() is None
    with Client(daemon.socket) as client:  # the request that comes with it is not looked at
        hello = b'{"token":"%b","protocol_version":1,"client_version":""}' % (b"0" * 64)
        request = b'{"topic":"astrid.v1.request.x","payload":{},"source_id":"%b"}' % (b"0" * 32)
        client.send_bytes(b"".join(struct.pack(">I", len(b)) + b for b in (hello, request)))
        answer = client.receive()
        assert answer is not None
        assert answer["status"] == "error"
        assert client.receive() is None


def test_a_flood_of_messages_is_cut_off_by_bytes_per_second(daemon: Daemon) -> None:
    write_profile(daemon, "frank", "[quotas]\nmax_ipc_throughput_bytes = 1048576\n")
    payload = {"type": "custom", "data": "z" * 300_000}
    with daemon.connect(principal="frank") as one, daemon.connect(principal="frank") as two:
        for client in (one, two):  # together
            for _ in range(2):
                client.send("user.v1.prompt", payload)
        two.send("user.v1.prompt", payload)
        rules = [message(two)["payload"]["rule"]]
        assert rules == ["max_ipc_throughput_bytes"]


def test_a_payload_that_is_too_long_is_refused(honest: Client) -> None:
    honest.send("user.v1.prompt", {"type": "custom", "data": "z" * (1024 * 1024 + 1)})
    assert message(honest)["payload"]["rule"] == "payload-size"


@pytest.mark.parametrize("letter", ["\\", "/", "u", "\u20ac", "\U0001f600"])
def test_a_long_frame_is_read_if_escapes_and_spaces_are_what_makes_it_long(
    honest: Client, letter: str
) -> None:
    units = letter.encode("utf-16-be").hex("|", 2).split("|")
    text = "".join(f"\\u{unit}" for unit in units) * 200_000
    body = b'{"topic":"user.v1.prompt","source_id":"%b","payload":%b%b}' % (
        NIL_SOURCE.encode(),
        b" \t\r\n" * 80_000,
        b'{"type":"custom","data":"%b"}' % text.encode(),
    )
    assert len(body) > 1.4 * MAX_PAYLOAD_BYTES
    honest.send_body(body)
    assert honest.ask("ListCapsules")["status"] == "Success"
    answer = honest.ask("Subscribe", params={"pattern": "user.v1.prompt"})
    assert answer["status"] == "Success"
    honest.send_body(body)
    assert message(honest)["payload"] == letter * 200_000


@pytest.mark.parametrize("filler", ["", "\\\\u" * 250_000])
def test_a_long_frame_is_not_read_if_its_payload_cannot_be_short(
    honest: Client, filler: str
) -> None:
    keys = ",".join(f'"k{number}":1' for number in range(130_000))
    body = (
        b'{"topic":"user.v1.prompt","source_id":"%b","payload":{"type":"custom",%b,"x":"%b"}}'
        % (
            NIL_SOURCE.encode(),
            keys.encode(),
            filler.encode(),
        )
    )
    honest.send_body(body)
    refused = message(honest)["payload"]
    assert refused["rule"] == "payload-size"
    assert refused["data"].startswith("a frame of")  # not: a payload of


def test_no_answer_names_a_path_or_the_token(daemon: Daemon, honest: Client) -> None:
    with daemon.connect(principal="alice") as alice:
        said = [
            alice.ask("GetStatus"),
            alice.ask("InstallCapsule", params={"source": "/etc/passwd"}),
            alice.ask("ListCapsules"),
            alice.call("nothing"),
        ]
    text = repr(said) + repr(honest.call("nothing"))
    assert str(daemon.home) not in text
    assert daemon.token.read_text() not in text
    log = (daemon.home / "log/daemon.log").read_text()
    assert daemon.token.read_text() not in log


def wait_for_clients(client: Client, count: int) -> None:
    while client.ask("GetStatus")["data"]["connected_clients"] != count:
        pass
