from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from astrid_core.host import services as host_services
from astrid_core.host.estate import MAX_QUEUES
from astrid_core.host.instance import CHAIN_S
from astrid_hookspecs.authz import Verdict, Vote
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.engines import Call, Caller, InterceptorBinding, Limits
from astrid_hookspecs.errors import CapsuleError
from astrid_hookspecs.values import NIL_SOURCE, Principal

MIB = 1024 * 1024
ACL: dict[str, tuple[str, ...]] = {
    "publish": ("a.b.*", "x"),
    "subscribe": ("a.*", "in.v1.x.*"),
}
RECV = "[method]subscription.recv"
POLL = "[method]subscription.poll"


def json_text(size: int) -> str:
    return '"' + "x" * (size - 2) + '"'


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        pytest.param("a.b.c", "ok", id="80-matches"),
        pytest.param("a.b", "capability-denied", id="80-too-short"),
        pytest.param("a.b.c.d", "capability-denied", id="80-too-long"),
        pytest.param("x", "ok", id="80-literal"),
        pytest.param("X", "capability-denied", id="80-case"),
        pytest.param("a..c", "invalid-input", id="81-empty-segment"),
        pytest.param("", "invalid-input", id="81-empty"),
        pytest.param(".a", "invalid-input", id="81-leading-dot"),
        pytest.param("a.b.*", "invalid-input", id="81-wildcard"),
        pytest.param("a.b." + "c" * 252, "ok", id="82-256-bytes"),
        pytest.param("a.b." + "c" * 253, "invalid-input", id="82-257-bytes"),
        pytest.param("a.b.c.d.e.f.g.h.i", "invalid-input", id="82-nine-segments"),
    ],
)
def test_publish_topic(world: Any, call: Any, topic: str, expected: str) -> None:
    assert call(world.open(**ACL), "publish", topic, "1")[0] == expected


def test_subscriptions_that_nobody_reads_keep_64_mib_together(world: Any, call: Any) -> None:
    """Many queues would otherwise hold more than the guest may have itself, thirty times over."""
    alice = world.open(**ACL)
    queues = [call(alice, "subscribe", f"a.{number}")[1] for number in range(12)]
    payload = json_text(MIB).encode()  # the same in every message: this takes no memory
    for _ in range(16):
        for number in range(12):
            world.bus.publish(Envelope(f"a.{number}", payload, principal=Principal("alice")))
    assert world.bus.stats()["queued_bytes"] <= 64 * MIB
    assert all(call(alice, POLL, queue)[1].messages for queue in queues)


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        pytest.param("a.b.c", "capability-denied", id="94"),
        pytest.param("t" * 257, "invalid-input", id="96"),
        pytest.param("a.b.c.d.e.f.g.h.i", "invalid-input", id="97"),
    ],
)
def test_publish_with_an_empty_list(world: Any, call: Any, topic: str, expected: str) -> None:
    assert call(world.open(), "publish", topic, "1")[0] == expected


def test_95_one_wildcard_covers_one_segment(world: Any, call: Any) -> None:
    assert call(world.open(publish=("a.*",)), "publish", "a.b.c", "1")[0] == "capability-denied"


@pytest.mark.parametrize(
    ("topic", "payload", "expected"),
    [
        pytest.param("x", json_text(MIB), "ok", id="83-1-mib"),
        pytest.param("x", json_text(MIB + 1), "invalid-input", id="83-98-above-1-mib"),
        pytest.param("x", json_text(6 * MIB), "rate-limited", id="83-99-6-mib"),
        pytest.param("x", "{", "invalid-input", id="83-not-json"),
        pytest.param("x", "", "invalid-input", id="83-empty"),
        pytest.param("q.q", json_text(2 * MIB), "capability-denied", id="84-2-mib-forbidden"),
        pytest.param("q.q", json_text(6 * MIB), "rate-limited", id="84-6-mib-forbidden"),
        pytest.param("q" * 257, json_text(6 * MIB), "invalid-input", id="topic-length-first"),
        pytest.param("q..q", json_text(6 * MIB), "rate-limited", id="rate-before-segments"),
    ],
)
def test_publish_checks_answer_in_order(
    world: Any, call: Any, topic: str, payload: str, expected: str
) -> None:
    assert call(world.open(**ACL), "publish", topic, payload)[0] == expected


def test_85_and_100_rate_per_second_and_principal(world: Any, call: Any) -> None:
    world.quotas.max_ipc_throughput_bytes = MIB
    text = json_text(600 * 1024)
    run = world.open(purpose="run", publish=("x",), subscribe=("in",))
    subscription = call(run, "subscribe", "in")[1]

    def as_principal(name: str) -> None:
        world.emit("in", principal=name)
        assert len(call(run, POLL, subscription)[1].messages) == 1

    as_principal("alice")
    assert call(run, "publish", "x", text)[0] == "ok"
    assert call(run, "publish", "x", text)[0] == "rate-limited"
    as_principal("bob")
    assert call(run, "publish", "x", text)[0] == "ok"
    as_principal("alice")
    assert call(run, "publish", "x", text)[0] == "rate-limited"
    world.clock.offset += 1.1
    assert call(run, "publish", "x", text)[0] == "ok"


def test_refused_publishes_cost_no_budget(world: Any, call: Any) -> None:
    world.quotas.max_ipc_throughput_bytes = 100
    alice = world.open(**ACL)
    for _ in range(5):
        assert call(alice, "publish", "q", json_text(90))[0] == "capability-denied"
        assert call(alice, "publish", "x", "{" + "x" * 89)[0] == "invalid-input"
    assert call(alice, "publish", "x", json_text(90))[0] == "ok"


def test_86_and_101_publish_as(world: Any, call: Any) -> None:
    received = world.bus.subscribe("x")
    plain = world.open(**ACL)
    assert call(plain, "publish-as", "x", "1", "alice")[0] == "capability-denied"
    uplink = world.open(uplink=True, **ACL)
    assert call(uplink, "publish-as", "x", "1", "a b")[0] == "invalid-input"
    assert call(uplink, "publish-as", "q", "1", "bob")[0] == "capability-denied"
    assert call(uplink, "publish-as", "x", "1", "bob")[0] == "ok"
    (message,) = received.take(max_bytes=MIB).messages
    assert (message.principal, message.attribution) == ("bob", Attribution.CLAIMED)


def test_publish_as_spends_the_claimed_principals_budget(world: Any, call: Any) -> None:
    world.quotas.max_ipc_throughput_bytes = 100
    uplink = world.open(uplink=True, **ACL)
    assert call(uplink, "publish-as", "x", json_text(90), "bob")[0] == "ok"
    assert call(uplink, "publish-as", "x", json_text(90), "bob")[0] == "rate-limited"
    assert call(uplink, "publish", "x", json_text(90))[0] == "ok"


def test_published_message_names_source_principal_and_time(world: Any, call: Any) -> None:
    received = world.bus.subscribe("x")
    alice = world.open(**ACL)
    assert call(alice, "publish", "x", "1")[0] == "ok"
    (message,) = received.take(max_bytes=MIB).messages
    assert message.source_id == alice.context.spec.source_id
    assert (message.principal, message.attribution) == ("alice", Attribution.VERIFIED)
    assert message.timestamp == "2026-02-03T09:10:11.120Z"
    assert message.depth == 1


@pytest.mark.parametrize(
    "topic", ["client.v1.connect", "astrid.v1.admin.x", "astrid.v1.approval.response.7"]
)
def test_reserved_topic_denied_without_the_uplink_flag(world: Any, call: Any, topic: str) -> None:
    assert call(world.open(publish=(topic,)), "publish", topic, "1")[0] == "capability-denied"
    assert call(world.open(publish=(topic,), uplink=True), "publish", topic, "1")[0] == "ok"


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ('{"type":"raw_json","method":"GetStatus"}', "ok"),
        ('{"type":"raw_json","method":"Shutdown"}', "capability-denied"),
        ('{"type":"raw_json"}', "capability-denied"),
        ('{"method":"GetStatus"}', "capability-denied"),
        ("{", "invalid-input"),
    ],
)
def test_kernel_request_denied_without_the_uplink_flag_unless_it_changes_nothing(
    world: Any, call: Any, payload: str, expected: str
) -> None:
    topic = "astrid.v1.request.system"
    assert call(world.open(publish=(topic,)), "publish", topic, payload)[0] == expected
    if expected == "capability-denied":
        uplink = world.open(publish=(topic,), uplink=True)
        assert call(uplink, "publish", topic, payload)[0] == "ok"


def test_publish_denied_when_a_policy_says_no(world: Any, call: Any) -> None:
    world.votes = [Vote(Verdict.DENY, "no", "test-rule")]
    alice = world.open(**ACL)
    assert call(alice, "publish", "x", "1") == ("capability-denied", None)
    assert world.decisions[-1].allowed is False


def caller(depth: int = 0, *, attribution: Attribution = Attribution.VERIFIED) -> Caller:
    return Caller(Principal("alice"), attribution, NIL_SOURCE, "2026-01-01T00:00:00.000Z", depth)


def test_publish_refused_when_the_causal_chain_is_too_long(world: Any, call: Any) -> None:
    assert call(world.open(caller=caller(7), **ACL), "publish", "x", "1")[0] == "ok"
    assert call(world.open(caller=caller(8), **ACL), "publish", "x", "1")[0] == "backpressure"


def test_a_run_loop_inherits_the_chain_of_what_it_received(world: Any, call: Any) -> None:
    run = world.open(purpose="run", **ACL)
    subscription = call(run, "subscribe", "a.b")[1]
    world.emit("a.b", depth=3)
    world.emit("a.b", depth=8)
    call(run, POLL, subscription)
    assert call(run, "publish", "x", "1")[0] == "backpressure"
    world.emit("a.b", depth=3)
    call(run, POLL, subscription)
    assert call(run, "publish", "x", "1")[0] == "ok"


@pytest.mark.parametrize("purpose", ["call", "run"])
def test_receiving_nothing_does_not_begin_a_new_chain(world: Any, call: Any, purpose: Any) -> None:
    guest = world.open(purpose=purpose, **ACL)
    subscription = call(guest, "subscribe", "a.b")[1]
    world.emit("a.b", depth=8, principal="alice")
    call(guest, POLL, subscription)
    call(guest, POLL, subscription)
    assert call(guest, "publish", "x", "1")[0] == "backpressure"
    world.clock.offset += CHAIN_S  # what it does much later is its own idea
    assert call(guest, "publish", "x", "1")[0] == "ok"


def test_the_chain_of_what_a_call_received_ends_with_the_call(world: Any, call: Any) -> None:
    guest = world.open(**ACL)
    subscription = call(guest, "subscribe", "a.b")[1]
    world.emit("a.b", depth=8, principal="alice")
    call(guest, POLL, subscription)
    guest.leave()
    guest.enter(Call(Principal("alice"), Limits()), deadline=None)
    assert call(guest, "publish", "x", "1")[0] == "ok"


@pytest.mark.parametrize("purpose", ["call", "run"])
def test_a_claim_is_not_laundered_by_a_capsule(world: Any, call: Any, purpose: Any) -> None:
    received = world.bus.subscribe("x")
    claimed = caller(attribution=Attribution.CLAIMED)
    instance = world.open(purpose=purpose, caller=claimed, **ACL)
    assert call(instance, "publish", "x", "1")[0] == "ok"
    (message,) = received.take(max_bytes=MIB).messages
    assert message.attribution is Attribution.CLAIMED


def test_what_a_call_receives_does_not_vouch_for_its_caller(world: Any, call: Any) -> None:
    received = world.bus.subscribe("x")
    claimed = caller(attribution=Attribution.CLAIMED)
    alice = world.open(caller=claimed, **ACL)
    subscription = call(alice, "subscribe", "a.b")[1]
    world.emit("a.b", principal="alice")
    assert len(call(alice, POLL, subscription)[1].messages) == 1
    assert call(alice, "publish", "x", "1")[0] == "ok"
    (message,) = received.take(max_bytes=MIB).messages
    assert message.attribution is Attribution.CLAIMED


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        pytest.param("a.*", "ok", id="87-102-equal-text"),
        pytest.param("a.b", "ok", id="87-102-within"),
        pytest.param("a.b.c", "capability-denied", id="87-102-deeper"),
        pytest.param("a.*.c", "invalid-input", id="87-inner-wildcard"),
        pytest.param("*.a", "invalid-input", id="102-leading-wildcard"),
        pytest.param("in.v1.x.*", "ok", id="87-second-key"),
        pytest.param("in.v1.*", "capability-denied", id="87-wider"),
        pytest.param("a.", "invalid-input", id="empty-segment"),
        pytest.param("a." + "b" * 255, "invalid-input", id="257-bytes"),
    ],
)
def test_subscribe(world: Any, call: Any, pattern: str, expected: str) -> None:
    assert call(world.open(**ACL), "subscribe", pattern)[0] == expected


def test_88_and_103_subscriptions_are_counted(world: Any, call: Any) -> None:
    alice = world.open(**ACL)
    made = [call(alice, "subscribe", "a.b")[1] for _ in range(128)]
    assert call(alice, "subscribe", "a.b") == ("quota", None)
    made[0].drop()
    assert call(alice, "subscribe", "a.b")[0] == "ok"
    assert call(alice, "subscribe", "a.b") == ("quota", None)


def test_89_and_104_recv_without_traffic_is_an_empty_batch(world: Any, call: Any) -> None:
    alice = world.open(**ACL)
    subscription = call(alice, "subscribe", "a.b")[1]
    start = time.monotonic()
    assert call(alice, RECV, subscription, 50) == ("ok", ([], 0, 0))
    assert 0.045 <= time.monotonic() - start < 5
    assert world.blocked == ["in", "out"]
    assert call(alice, RECV, subscription, 0) == ("ok", ([], 0, 0))
    assert world.blocked == ["in", "out"]


def test_89_recv_is_clamped_to_a_minute(
    world: Any, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = world.open(**ACL)
    subscription = call(alice, "subscribe", "a.b")[1]
    bounds: list[float] = []
    wait = alice.wait

    def record(sources: Any, *, timeout_s: float) -> Any:
        bounds.append(timeout_s)
        return wait(sources, timeout_s=0)

    monkeypatch.setattr(alice, "wait", record)
    assert call(alice, RECV, subscription, 2**64 - 1) == ("ok", ([], 0, 0))
    assert 59 < bounds[0] <= 60


@pytest.mark.parametrize("which", ["unload", "call"])
def test_recv_comes_back_empty_when_cancelled(world: Any, call: Any, which: str) -> None:
    token = CancelToken()
    alice = world.open(cancel=token, **ACL)
    subscription = call(alice, "subscribe", "a.b")[1]
    timer = threading.Timer(0.05, (alice.cancel if which == "unload" else token).fire)
    timer.start()
    start = time.monotonic()
    assert call(alice, RECV, subscription, 60_000) == ("ok", ([], 0, 0))
    assert time.monotonic() - start < 30
    timer.join()


def test_recv_comes_back_when_the_call_is_out_of_time(world: Any, call: Any) -> None:
    alice = world.open(timeout_s=0.05, **ACL)
    subscription = call(alice, "subscribe", "a.b")[1]
    start = time.monotonic()
    assert call(alice, RECV, subscription, 60_000) == ("ok", ([], 0, 0))
    assert time.monotonic() - start < 30


def test_recv_wakes_for_a_message(world: Any, call: Any) -> None:
    alice = world.open(**ACL)
    subscription = call(alice, "subscribe", "a.b")[1]
    timer = threading.Timer(0.05, world.emit, args=("a.b", b"7"))
    timer.start()
    messages = call(alice, RECV, subscription, 60_000)[1].messages
    assert [message.payload for message in messages] == ["7"]
    timer.join()


def test_90_and_105_a_batch_never_mixes_principals(world: Any, call: Any) -> None:
    run = world.open(purpose="run", **ACL)
    subscription = call(run, "subscribe", "a.b")[1]
    for name in ("alice", "alice", "bob", "alice"):
        world.emit("a.b", principal=name)
    batches = [call(run, RECV, subscription, 0)[1].messages for _ in range(3)]
    assert [[one.principal for one in batch] for batch in batches] == [
        [("verified", "alice")] * 2,
        [("verified", "bob")],
        [("verified", "alice")],
    ]


def test_106_no_principal_is_a_batch_of_its_own_and_of_the_system(world: Any, call: Any) -> None:
    alice = world.open(**ACL)
    subscription = call(alice, "subscribe", "a.b")[1]
    world.emit("a.b")
    world.emit("a.b", principal="alice")
    messages = call(alice, RECV, subscription, 0)[1].messages
    assert [message.principal for message in messages] == [("system", None)]


def test_91_what_exceeds_a_batch_stays_queued(world: Any, call: Any) -> None:
    alice = world.open(**ACL)
    subscription = call(alice, "subscribe", "a.b")[1]
    for _ in range(3):
        world.emit("a.b", json_text(600 * 1024).encode())
    results = [call(alice, RECV, subscription, 0)[1] for _ in range(4)]
    assert [len(result.messages) for result in results] == [1, 1, 1, 0]
    assert [result.dropped for result in results] == [0, 0, 0, 0]


def test_92_and_107_overwritten_messages_are_counted_once(world: Any, call: Any) -> None:
    alice = world.open(**ACL)
    subscription = call(alice, "subscribe", "a.b")[1]
    for number in range(1, 1101):
        world.emit("a.b", str(number).encode())
    first = call(alice, POLL, subscription)[1]
    assert (len(first.messages), first.lagged, first.messages[0].payload) == (1024, 76, "77")
    assert call(alice, POLL, subscription)[1].lagged == 0


@pytest.mark.parametrize(
    ("published", "received"),
    [
        pytest.param(
            '{"type":"user_input","text":"t","zzz":1}',
            '{"type":"user_input","text":"t","session_id":"default"}',
            id="94",
        ),
        pytest.param('{"type":"user_input"}', '{"type":"user_input"}', id="95-missing-field"),
        pytest.param('{"type":"nope","k":1}', '{"type":"nope","k":1}', id="95-unknown-tag"),
        pytest.param('{"type":"raw_json","k":1}', '{"k":1}', id="96"),
    ],
)
def test_payloads_are_normalised(world: Any, call: Any, published: str, received: str) -> None:
    alice = world.open(publish=("a.b",), subscribe=("a.b",))
    subscription = call(alice, "subscribe", "a.b")[1]
    assert call(alice, "publish", "a.b", published)[0] == "ok"
    (message,) = call(alice, POLL, subscription)[1].messages
    assert message.payload == received


def test_98_a_kernel_event_is_the_systems(world: Any, call: Any) -> None:
    alice = world.open(**ACL)
    subscription = call(alice, "subscribe", "a.b")[1]
    world.emit("a.b")
    (message,) = call(alice, POLL, subscription)[1].messages
    assert (message.principal, message.source_id) == (("system", None), NIL_SOURCE)


def test_publishing_never_delivers_inside_the_call(world: Any, call: Any) -> None:
    alice = world.open(publish=("a.b",), subscribe=("a.b",))
    subscription = call(alice, "subscribe", "a.b")[1]
    call(alice, "publish", "a.b", "1")
    assert alice.caller is None
    assert len(call(alice, POLL, subscription)[1].messages) == 1


def kv_namespace_written(world: Any, call: Any, instance: Any) -> list[str]:
    """Write a key and see in whose namespace it arrived."""
    call(instance, "kv-set", "k", b"v", interface="astrid:kv/host@1.0.0")
    names = [n for n in ("alice", "bob", "default") if world.kv.get(f"{n}:capsule:t", "k")]
    for name in names:
        world.kv.delete(f"{name}:capsule:t", "k")
    return names


def test_a_run_loop_acts_for_the_principal_it_received_from(world: Any, call: Any) -> None:
    run = world.open(purpose="run", principal="default", **ACL)
    subscription = call(run, "subscribe", "a.b")[1]
    assert kv_namespace_written(world, call, run) == ["default"]
    world.emit("a.b", principal="bob")
    call(run, RECV, subscription, 0)
    assert kv_namespace_written(world, call, run) == ["bob"]
    call(run, RECV, subscription, 0)
    assert kv_namespace_written(world, call, run) == ["default"]


def test_a_call_hears_its_own_principal_and_the_kernel_and_nobody_else(
    world: Any, call: Any
) -> None:
    alice = world.open(caller=caller(), **ACL)
    subscription = call(alice, "subscribe", "a.b")[1]
    for name in ("bob", "alice", None, "default"):
        world.emit("a.b", principal=name)
    batches = [call(alice, RECV, subscription, 0)[1].messages for _ in range(3)]
    heard = [message.principal for batch in batches for message in batch]
    assert heard == [("verified", "alice"), ("system", None)]
    assert kv_namespace_written(world, call, alice) == ["alice"]


def test_a_flood_of_somebody_else_costs_a_call_nothing(world: Any, call: Any) -> None:
    alice = world.open(caller=caller(), **ACL)
    subscription = call(alice, "subscribe", "a.b")[1]
    world.emit("a.b", principal="alice")
    for _ in range(1100):
        world.emit("a.b", principal="bob")
    received = call(alice, RECV, subscription, 0)[1]
    assert ([message.principal[1] for message in received.messages], received.lagged) == (
        ["alice"],
        0,
    )


def test_a_flood_of_one_costs_others_nothing_in_a_run_loop(world: Any, call: Any) -> None:
    run = world.open(purpose="run", principal="default", **ACL)
    subscription = call(run, "subscribe", "a.b")[1]
    world.emit("a.b", principal="alice")
    for _ in range(1100):
        world.emit("a.b", principal="bob")
    first = call(run, RECV, subscription, 0)[1]
    assert [message.principal[1] for message in first.messages] == ["alice"]
    assert first.lagged == 77


def test_what_a_disabled_principal_says_reaches_no_run_loop(world: Any, call: Any) -> None:
    run = world.open(purpose="run", principal="default", **ACL)
    subscription = call(run, "subscribe", "a.b")[1]
    world.emit("a.b", principal="bob")
    world.disabled.add("bob")
    world.damaged.add("carol")
    for name in ("bob", "carol", "alice"):
        world.emit("a.b", principal=name)
    messages = call(run, RECV, subscription, 0)[1].messages
    assert [message.principal for message in messages] == [("verified", "alice")]
    world.disabled.clear()
    world.emit("a.b", principal="bob")
    messages = call(run, RECV, subscription, 0)[1].messages
    assert [message.principal for message in messages] == [("verified", "bob")]


def test_an_uplink_speaks_for_nobody_who_is_disabled(world: Any, call: Any) -> None:
    uplink = world.open(uplink=True, **ACL)
    world.disabled.add("bob")
    assert call(uplink, "publish-as", "x", "1", "bob")[0] == "capability-denied"
    world.disabled.clear()
    assert call(uplink, "publish-as", "x", "1", "bob")[0] == "ok"


def test_an_uplink_that_speaks_for_too_many_is_refused_and_on_record(
    world: Any, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_services, "MAX_CLAIMED", 2)
    services = {"claims": host_services.Claims()}
    uplink = world.open(uplink=True, services=services, **ACL)
    heard = [call(uplink, "publish-as", "x", "1", name)[0] for name in ("a", "b", "a", "c", "b")]
    assert heard == ["ok", "ok", "ok", "quota", "ok"]
    assert world.decisions[-1].rule == "uplink.principals"
    again = world.open(uplink=True, services=services, **ACL)
    assert call(again, "publish-as", "x", "1", "d")[0] == "quota", "it counts for the capsule"


@pytest.mark.parametrize("topic", ["astrid.v1.request.x", "astrid.v1.admin.agent.list"])
def test_a_request_to_the_kernel_is_refused_when_it_is_long(
    world: Any, call: Any, topic: str
) -> None:
    """It would be read on the daemon's loop, where everybody waits for it."""
    uplink = world.open(uplink=True, publish=(topic,))
    frame = '{"type":"raw_json","method":"GetStatus","x":""}'
    longest = frame.replace('""', f'"{"x" * (32 * 1024 - len(frame))}"')
    assert call(uplink, "publish", topic, longest)[0] == "ok"
    assert call(uplink, "publish", topic, longest + " ")[0] == "invalid-input"


def test_life_cycle_hooks_publish_and_receive_nothing(world: Any, call: Any) -> None:
    hook = world.open(purpose="lifecycle", bindings=(InterceptorBinding("h.v1", "on"),), **ACL)
    assert call(hook, "publish", "x", "1")[0] == "capability-denied"
    assert call(hook, "subscribe", "a.b")[0] == "capability-denied"
    assert call(hook, "subscribe", "h.v1")[0] == "capability-denied"


BINDINGS = (
    InterceptorBinding("h.v1.one", "first"),
    InterceptorBinding("h.*.two", "second", 50),
    InterceptorBinding("h.v2.*", "third"),
)


def test_run_loop_handlers_are_subscribed_before_the_guest_runs(world: Any, call: Any) -> None:
    run = world.open(purpose="run", bindings=BINDINGS)
    world.emit("h.v1.one", b"1")
    world.emit("h.x.two", b"2")
    assert sorted(run.unclaimed_bindings()) == ["h.*.two", "h.v1.one", "h.v2.*"]
    for pattern, payload in (("h.v1.one", "1"), ("h.*.two", "2")):
        subscription = call(run, "subscribe", pattern)[1]
        (message,) = call(run, POLL, subscription)[1].messages
        assert message.payload == payload
    assert run.unclaimed_bindings() == ("h.v2.*",)


def test_a_handlers_messages_are_adopted_once(world: Any, call: Any) -> None:
    run = world.open(purpose="run", bindings=BINDINGS)
    world.emit("h.v1.one")
    first = call(run, "subscribe", "h.v1.one")[1]
    second = call(run, "subscribe", "h.v1.one")[1]
    assert len(call(run, POLL, first)[1].messages) == 1
    assert call(run, POLL, second)[1].messages == []


def test_a_handler_does_not_open_the_subtree_below_its_topic(world: Any, call: Any) -> None:
    run = world.open(purpose="run", bindings=BINDINGS)
    subscription = call(run, "subscribe", "h.v2.*")[1]
    world.emit("h.v2.a.secret", b"1")
    world.emit("h.v2.a", b"2")
    assert [one.payload for one in call(run, RECV, subscription, 0)[1].messages] == ["2"]
    world.emit("h.v2.a.secret", b"3")
    assert call(run, RECV, subscription, 20) == ("ok", ([], 0, 0))
    granted = world.open(purpose="run", bindings=BINDINGS, subscribe=("h.v2.*",))
    subscription = call(granted, "subscribe", "h.v2.*")[1]
    world.emit("h.v2.a.deep", b"4")
    assert [one.payload for one in call(granted, POLL, subscription)[1].messages] == ["4"]


def test_a_handler_opens_no_other_pattern(world: Any, call: Any) -> None:
    run = world.open(purpose="run", bindings=BINDINGS)
    assert call(run, "subscribe", "h.v2.a")[0] == "capability-denied"


def test_handler_topic_denied_when_a_policy_says_no(world: Any, call: Any) -> None:
    world.votes = [Vote(Verdict.DENY, "no", "test-rule")]
    run = world.open(purpose="run", bindings=BINDINGS)
    assert call(run, "subscribe", "h.v1.one") == ("capability-denied", None)


def test_bindings_are_listed_for_run_loops_only(world: Any, call: Any) -> None:
    run = world.open(purpose="run", bindings=BINDINGS)
    assert call(run, "get-interceptor-bindings") == (
        "ok",
        [(0, "first", "h.v1.one"), (1, "second", "h.*.two"), (2, "third", "h.v2.*")],
    )
    assert call(world.open(bindings=BINDINGS), "get-interceptor-bindings") == ("ok", [])


def test_a_run_loop_with_65_handlers_is_refused(world: Any) -> None:
    many = tuple(InterceptorBinding(f"h.v1.n{number}", "on") for number in range(65))
    with pytest.raises(CapsuleError, match="65 handlers"):
        world.open(purpose="run", bindings=many)
    world.open(purpose="run", bindings=many[:64])


def test_close_ends_every_subscription_of_a_call_and_leaves_those_of_a_loop_to_its_successor(
    world: Any, call: Any
) -> None:
    caller = world.open(**ACL)
    call(caller, "subscribe", "a.b")
    caller.close()
    assert world.bus.stats()["subscriptions"] == 0
    run = world.open(purpose="run", bindings=BINDINGS, **ACL)
    kept = call(run, "subscribe", "a.b")[1]
    given_up = call(run, "subscribe", "a.b")[1]
    call(run, "subscribe", "h.v1.one")
    assert world.bus.stats()["subscriptions"] == 5
    given_up.drop()  # by a guest that goes on: nobody wants these messages
    assert world.bus.stats()["subscriptions"] == 4
    run.close()
    kept.drop()
    assert world.bus.stats()["subscriptions"] == 4
    run.estate.close()
    assert world.bus.stats()["subscriptions"] == 0


def test_a_successor_receives_what_its_predecessor_has_not(world: Any, call: Any) -> None:
    before = world.open(purpose="run", **ACL)
    call(before, "subscribe", "a.b")
    before.close()
    world.emit("a.b", b'"while nobody ran"')
    after = world.open(purpose="run", **ACL)
    after.estate.adopt(before.estate)
    subscription = call(after, "subscribe", "a.b")[1]
    (message,) = call(after, "[method]subscription.poll", subscription)[1].messages
    assert message.payload == '"while nobody ran"'
    after.estate.close()
    after.close()
    assert world.bus.stats()["subscriptions"] == 0


def test_loads_that_fail_in_a_row_leave_no_more_than_one_could(world: Any) -> None:
    estate = world.open(purpose="run", **ACL).estate
    for number in range(300):
        estate.keep(world.bus.subscribe(f"a.n{number}"))
    assert world.bus.stats()["subscriptions"] == MAX_QUEUES
    estate.close()
    assert world.bus.stats()["subscriptions"] == 0
