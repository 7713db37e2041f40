"""The wrappers against the fake host; reference vectors carry their numbers.

Spec: host-abi 21.5 to 21.7.
"""

from __future__ import annotations

import json
import logging

import pytest

from astrid_sdk import bindings, ipc, kv, logs, poll, sys
from astrid_sdk.chunks import split_bytes
from astrid_sdk.errors import (
    CancelledError,
    CapabilityDeniedError,
    CasMismatchError,
    HostError,
    InvalidInputError,
    InvalidKeyError,
    IpcError,
    KvError,
    QuotaError,
    RateLimitedError,
    RequestTimeoutError,
    ReservedKeyError,
    SysError,
    TooLargeError,
)
from astrid_sdk.testing import FakeHost
from astrid_sdk.topics import is_pattern, is_subscribable, matches_entry, matches_subscription

MIB = 1024 * 1024
pytestmark = pytest.mark.usefixtures("host")


def test_refusal_is_caught_by_interface_and_by_kind(host: FakeHost) -> None:
    with pytest.raises(IpcError) as caught:
        ipc.publish("q.q", "{}")

    error = caught.value
    assert isinstance(error, CapabilityDeniedError)
    assert not isinstance(error, KvError)
    assert (error.interface, error.function, error.case) == ("ipc", "publish", "capability-denied")
    assert str(error) == "publish: capability-denied"
    assert host.published == []


PUBLISH = [
    ("80", "a.b.c", "{}", None),
    ("80-short", "a.b", "{}", CapabilityDeniedError),
    ("80-deep", "a.b.c.d", "{}", CapabilityDeniedError),
    ("80-exact", "x", "{}", None),
    ("80-case", "X", "{}", CapabilityDeniedError),
    ("81-empty-segment", "a..c", "{}", InvalidInputError),
    ("81-empty", "", "{}", InvalidInputError),
    ("81-leading-dot", ".a", "{}", InvalidInputError),
    ("81-star", "a.b.*", "{}", InvalidInputError),
    ("82-257-bytes", "a.b." + "c" * 253, "{}", InvalidInputError),
    ("82-256-bytes", "a.b." + "c" * 252, "{}", None),
    ("82-nine-segments", "a.b.c.d.e.f.g.h.i", "{}", InvalidInputError),
    ("83-1-mib", "x", '"' + "y" * (MIB - 2) + '"', None),
    ("83-above", "x", '"' + "y" * (MIB - 1) + '"', InvalidInputError),
    ("83-6-mib", "x", '"' + "y" * (6 * MIB) + '"', RateLimitedError),
    ("83-not-json", "x", "{", InvalidInputError),
    ("83-no-text", "x", "", InvalidInputError),
    ("84-2-mib-forbidden", "q.q", '"' + "y" * (2 * MIB) + '"', CapabilityDeniedError),
    ("84-6-mib-forbidden", "q.q", '"' + "y" * (6 * MIB) + '"', RateLimitedError),
]


@pytest.mark.parametrize(
    ("topic", "text", "error"), [row[1:] for row in PUBLISH], ids=[row[0] for row in PUBLISH]
)
def test_publish(host: FakeHost, topic: str, text: str, error: type[HostError] | None) -> None:
    if error is None:
        ipc.publish(topic, text)
        assert host.published[0].topic == topic
    else:
        with pytest.raises(error):
            ipc.publish(topic, text)
        assert host.published == []


SUBSCRIBE = [
    ("a.*", None),
    ("a.b", None),
    ("a.b.c", CapabilityDeniedError),
    ("a.*.c", InvalidInputError),
    ("in.v1.x.*", None),
    ("in.v1.*", CapabilityDeniedError),
]


@pytest.mark.parametrize(("pattern", "error"), SUBSCRIBE, ids=[f"87-{row[0]}" for row in SUBSCRIBE])
def test_subscribe(pattern: str, error: type[HostError] | None) -> None:
    if error is None:
        ipc.subscribe(pattern).close()
    else:
        with pytest.raises(error):
            ipc.subscribe(pattern)


def test_86_publish_as_needs_uplink_and_a_principal(host: FakeHost) -> None:
    with pytest.raises(CapabilityDeniedError):
        ipc.publish_as("x", {}, principal="alice")
    host.capabilities.add("uplink")
    with pytest.raises(InvalidInputError):
        ipc.publish_as("x", {}, principal="a b")

    ipc.publish_as("x", {}, principal="alice")

    assert host.published[0].principal == "alice"
    assert host.published[0].is_claimed


def test_88_subscriptions_are_limited_and_freed() -> None:
    held = [ipc.subscribe("a.b") for _ in range(128)]
    with pytest.raises(QuotaError):
        ipc.subscribe("a.b")

    held.pop().close()

    ipc.subscribe("a.b")


def test_89_recv_without_traffic_is_empty_and_waits_as_long_as_asked() -> None:
    with ipc.subscribe("a.*") as subscription:
        for timeout, waited in ((0.05, 50), (0.0, 0), (1e9, 60_000)):
            start = sys.clock_ms()
            assert subscription.recv(timeout).messages == ()
            assert sys.clock_ms() - start == waited
        with pytest.raises(ValueError, match="non-negative"):
            subscription.recv(-1)


def test_90_a_batch_has_one_principal_and_sets_the_caller(host: FakeHost) -> None:
    subscription = ipc.subscribe("a.*")
    for principal in ("alice", "alice", "bob", "alice"):
        host.principal = principal
        host.deliver("a.b", {})

    sizes, callers = [], []
    for _ in range(3):
        sizes.append(len(subscription.recv().messages))
        callers.append(sys.caller().principal)

    assert sizes == [2, 1, 1]
    assert callers == ["alice", "bob", "alice"]
    assert subscription.poll().messages == ()
    assert sys.caller() == (None, "", "")  # vector 97


def test_91_a_batch_has_at_most_one_mib(host: FakeHost) -> None:
    subscription = ipc.subscribe("a.*")
    for _ in range(3):
        host.deliver("a.b", "y" * int(0.6 * MIB))

    assert [len(subscription.recv().messages) for _ in range(3)] == [1, 1, 1]


def test_message_carries_topic_payload_and_trust(host: FakeHost) -> None:
    subscription = ipc.subscribe("a.*")
    host.deliver("a.b.c", {"k": [1]})

    message = subscription.recv().messages[0]

    assert message.topic == "a.b.c"
    assert message.json() == {"k": [1]}
    assert (message.principal, message.trust) == ("default", "verified")


def test_iteration_ends_when_the_host_stops_the_capsule(host: FakeHost) -> None:
    host.stop_at_ns = round(200e9)
    host.deliver("a.b", 1, delay_s=150)
    with ipc.subscribe("a.*") as subscription:
        assert [message.json() for message in subscription] == [1]


def test_request_gets_the_answer_to_its_own_correlation_id(host: FakeHost) -> None:
    host.publish.append("ask")
    host.subscribe.append("answer.*")
    host.deliver("answer.somebody-else", "wrong")
    original = ipc.publish_json

    def answering(topic: str, value: object) -> None:
        original(topic, value)
        asked = host.published[-1].payload["correlation_id"]
        host.deliver(f"answer.{asked}", "right", delay_s=2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ipc, "publish_json", answering)
        message = ipc.request("ask", {"q": 1}, response="answer")

    assert message.json() == "right"
    assert host.published[-1].payload["q"] == 1


def test_request_gives_up_and_unsubscribes(host: FakeHost) -> None:
    host.publish.append("ask")
    host.subscribe.append("answer.*")

    for _ in range(200):
        with pytest.raises(RequestTimeoutError, match="no answer to ask"):
            ipc.request("ask", {}, response="answer", timeout=0.5)


def test_request_ends_when_the_host_stops_the_capsule(host: FakeHost) -> None:
    host.publish.append("ask")
    host.subscribe.append("answer.*")
    host.stop_at_ns = round(1e9)

    with pytest.raises(CancelledError):
        ipc.request("ask", {}, response="answer", timeout=30)


def test_wait_any_names_all_that_are_ready(host: FakeHost) -> None:
    one, two = ipc.subscribe("a.b"), ipc.subscribe("a.*")
    host.deliver("a.x", 1, delay_s=3)

    assert poll.wait_any([one.readiness(), two.readiness()]) == [1]
    assert not one.readiness().ready()
    with pytest.raises(InvalidInputError):
        poll.wait_any([])


def test_wait_ends_with_an_error_when_the_host_stops_the_capsule(host: FakeHost) -> None:
    host.stop_at_ns = round(1e9)

    with pytest.raises(CancelledError):
        ipc.subscribe("a.b").readiness().block()


@pytest.mark.parametrize(
    "key",
    ["", "a\0", "k" * 257, "e\u0301", "a\tb", "__secret:token"],
    ids=["99-empty", "99-nul", "99-257", "99-nfc", "99-tab", "109"],
)
def test_key_that_cannot_exist_is_refused(key: str) -> None:
    for attempt in (kv.get, kv.delete, lambda key: kv.set(key, b"")):
        with pytest.raises(InvalidKeyError):
            attempt(key)
    with pytest.raises(InvalidKeyError):
        kv.cas(key, expected=None, new=b"")


def test_100_a_value_has_at_most_one_mib() -> None:
    kv.set("k", b"v" * MIB)
    with pytest.raises(TooLargeError):
        kv.set("k", b"v" * (MIB + 1))
    assert len(kv.get("k") or b"") == MIB


def test_list_that_cannot_cross_the_boundary_is_refused_before_the_call() -> None:
    with pytest.raises(TooLargeError, match="can cross"):
        kv.set("k", b"v" * 2_600_001)


def test_text_that_cannot_cross_the_boundary_is_refused_before_the_call() -> None:
    calls: list[object] = []
    with pytest.raises(UnicodeEncodeError):
        bindings.guarded("kv", "kv_get", calls.append, "\udc80")
    assert calls == []


def test_101_absent_and_empty_differ() -> None:
    assert kv.get("k") is None
    kv.delete("k")
    kv.set("k", b"")
    assert kv.get("k") == b""


def test_102_principals_have_stores_of_their_own(host: FakeHost) -> None:
    kv.set("k", b"alice")
    host.principal = "bob"
    assert kv.get("k") is None


def test_103_cas() -> None:
    assert kv.cas("k", expected=None, new=b"v")
    assert not kv.cas("k", expected=None, new=b"v")
    assert kv.cas("k", expected=b"v", new=b"w")
    assert not kv.cas("k", expected=b"v", new=b"z")
    assert kv.get("k") == b"w"


def test_105_keys_are_paged_in_byte_order() -> None:
    names = sorted((f"k{number}" for number in range(1025)), key=str.encode)
    for name in names:
        kv.set(name, b"")
    kv.set("other", b"")

    assert list(kv.keys("k")) == names
    assert list(kv.keys("k", page=7)) == names


def test_106_paging_goes_on_after_a_deleted_cursor() -> None:
    for name in "abcd":
        kv.set(name, b"")
    found = []
    for key in kv.keys(page=2):
        found.append(key)
        kv.delete(key)

    assert found == ["a", "b", "c", "d"]


def test_108_clear_by_prefix() -> None:
    for name in ("a", "ab", "b"):
        kv.set(name, b"")

    assert kv.clear("a") == 2
    with pytest.raises(InvalidKeyError):
        kv.clear("\0")
    assert kv.clear() == 1


def test_json_helpers() -> None:
    assert kv.get_json("k", {"n": 0}) == {"n": 0}
    kv.set_json("k", {"n": (1, 2)})
    assert kv.get_json("k") == {"n": [1, 2]}
    with pytest.raises(TypeError, match="no JSON form"):
        kv.set_json("k", object())
    with pytest.raises(ValueError, match="not JSON compliant"):
        kv.set_json("k", float("nan"))


def test_update_tries_again_when_somebody_was_faster() -> None:
    kv.set_json("n", 1)
    seen = []

    def change(value: int) -> int:
        seen.append(value)
        if len(seen) == 1:
            kv.set_json("n", 10)
        return value + 1

    assert kv.update("n", change) == 11
    assert seen == [1, 10]
    assert kv.update("fresh", lambda value: [*value, "x"], default=[]) == ["x"]


def test_update_gives_up_in_the_end() -> None:
    def change(value: int | None) -> int:
        kv.set_json("n", (value or 0) + 1)
        return 0

    with pytest.raises(CasMismatchError):
        kv.update("n", change)
    assert kv.get_json("n") == 64


def test_configuration(host: FakeHost) -> None:
    host.config = {"NAME": "x", "LIMIT": "25"}

    assert sys.config("NAME") == "x"
    assert sys.config("NOPE") is None
    assert sys.config("NOPE", "y") == "y"
    assert sys.config_json("LIMIT") == 25
    assert sys.config_json("NOPE", 3) == 3
    with pytest.raises(ReservedKeyError):
        sys.config("__x")


def test_long_sleeps_are_cut_into_calls(host: FakeHost) -> None:
    sys.sleep(150)

    assert host.now_ns == 150_000_000_000
    with pytest.raises(ValueError, match="non-negative"):
        sys.sleep(-1)


def test_sleep_ends_when_the_host_stops_the_capsule(host: FakeHost) -> None:
    host.stop_at_ns = round(5e9)

    with pytest.raises(SysError) as caught:
        sys.sleep(60)
    assert isinstance(caught.value, CancelledError)
    assert host.now_ns == 5_000_000_000


def test_entropy_comes_in_any_length() -> None:
    assert len(sys.random_bytes(10_000)) == 10_000
    assert sys.random_bytes(0) == b""
    assert sys.random_bytes(16) != sys.random_bytes(16)


def test_capabilities(host: FakeHost) -> None:
    host.capabilities = {"net", "fs_read"}

    assert sys.capabilities() == ["fs_read", "net"]
    assert sys.has_capability("net", source_id=host.source_id)
    assert not sys.has_capability("net", source_id="unknown")


def test_log_levels(host: FakeHost) -> None:
    sys.log("warn", "careful")
    with pytest.raises(ValueError, match="no log level"):
        sys.log("loud", "x")  # type: ignore[arg-type]
    assert host.logs == [("warn", "careful")]


@pytest.mark.parametrize(
    ("number", "level"),
    [(5, "trace"), (10, "debug"), (20, "info"), (30, "warn"), (40, "error"), (50, "error")],
)
def test_stdlib_levels(number: int, level: str) -> None:
    assert logs.level_of(number) == level


def test_logging_ends_in_the_host_log_and_never_fails(host: FakeHost) -> None:
    logger = logging.getLogger("weather")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    handler = logs.HostLogHandler()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger.addHandler(handler)

    logger.info("it is %d degrees", 21)
    logger.info(*["two %s %s", "arguments missing"])
    logger.removeHandler(handler)

    assert host.logs == [("info", "weather: it is 21 degrees")]


def test_print_becomes_log_lines(host: FakeHost) -> None:
    stream = logs.LogStream("info")

    print("one\ntwo", "more", file=stream)
    print("rest", end="", file=stream)
    stream.flush()
    stream.flush()

    assert [line.message for line in host.logs] == ["one", "two more", "rest"]


@pytest.mark.parametrize(("size", "sizes"), [(0, []), (4, [4]), (9, [4, 4, 1])])
def test_split_bytes(size: int, sizes: list[int]) -> None:
    data = bytes(range(size))
    pieces = list(split_bytes(data, limit=4))

    assert [len(piece) for piece in pieces] == sizes
    assert b"".join(pieces) == data


@pytest.mark.parametrize("limit", [0, -1, 2_600_001])
def test_split_bytes_refuses_pieces_that_cannot_cross(limit: int) -> None:
    with pytest.raises(ValueError, match="limit"):
        list(split_bytes(b"x", limit=limit))


MATCHES = [
    ("a.b.c", "a.b.c", True, True),
    ("a.b.c", "a.b.*", True, True),
    ("a.b.c.d", "a.b.*", False, True),
    ("a.b", "a.b.*", False, False),
    ("a.x.c", "a.*.c", True, True),
    ("a.x.y.c", "a.*.c", False, False),
    ("a.b.c.d", "*.b.*", False, True),
    ("a.b.c", "a.*.*", True, True),
    ("a.b", "a.*.*", False, False),
    ("a.b", "a.b.c", False, False),
    ("a", "*.b", False, False),
    ("b", "a.b", False, False),
    ("a", "*", True, True),
    ("a.b", "*", False, False),
    ("a.", "a.*", False, True),
    ("a..b", "a.*.b", False, True),
    ("A.b", "a.b", False, False),
    ("foobar", "foo*", False, False),
    ("a.*", "a.*", True, True),
]


@pytest.mark.parametrize(("topic", "pattern", "entry", "subscription"), MATCHES)
def test_matchers(topic: str, pattern: str, entry: bool, subscription: bool) -> None:
    assert matches_entry(topic, pattern) is entry
    assert matches_subscription(topic, pattern) is subscription


@pytest.mark.parametrize(
    ("text", "pattern", "subscribable"),
    [("a.*", True, True), ("a.*.c", True, False), ("*", True, True), ("a..b", False, False)],
)
def test_patterns(text: str, pattern: bool, subscribable: bool) -> None:
    assert is_pattern(text) is pattern
    assert is_subscribable(text) is subscribable


def test_published_values_are_json(host: FakeHost) -> None:
    ipc.publish_json("x", {"a": (1, None)})

    assert json.loads(json.dumps(host.published[0].payload)) == {"a": [1, None]}
