from __future__ import annotations

import threading
import time
import uuid
from functools import partial
from typing import Any

import pytest
from loguru import logger

from astrid_hookspecs.buses import Attribution
from astrid_hookspecs.engines import Caller, InterceptorBinding
from astrid_hookspecs.values import Principal

IPC_RECV = "[method]subscription.recv"


@pytest.fixture
def sys(call: Any) -> Any:
    return partial(call, interface="astrid:sys/host@1.0.0")


def test_111_sleep_within_a_minute(world: Any, sys: Any) -> None:
    alice = world.open()
    start = time.monotonic()
    assert sys(alice, "sleep-ns", 30_000_000) == ("ok", None)
    assert 0.025 <= time.monotonic() - start < 5
    assert sys(alice, "sleep-ns", 0) == ("ok", None)
    assert sys(alice, "sleep-ns", 60_000_000_001) == ("too-large", None)


def test_111_a_minute_is_allowed_and_unload_wakes_it(world: Any, sys: Any) -> None:
    alice = world.open()
    timer = threading.Timer(0.05, alice.cancel.fire)
    timer.start()
    start = time.monotonic()
    assert sys(alice, "sleep-ns", 60_000_000_000) == ("cancelled", None)
    assert time.monotonic() - start < 30
    timer.join()


def test_sleep_ends_when_the_call_is_out_of_time(world: Any, sys: Any) -> None:
    alice = world.open(timeout_s=0.05)
    start = time.monotonic()
    assert sys(alice, "sleep-ns", 60_000_000_000) == ("cancelled", None)
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        pytest.param(0, ("ok", b""), id="112-none"),
        pytest.param(4096, ("ok", b"\x07" * 4096), id="112-most"),
        pytest.param(4097, ("too-large", None), id="112-too-many"),
        pytest.param(2**64 - 1, ("too-large", None), id="absurd"),
    ],
)
def test_random_bytes(world: Any, sys: Any, length: int, expected: Any) -> None:
    assert sys(world.open(), "random-bytes", length) == expected


CONFIG = {"flag": True, "text": "plain", "empty": "", "list": [1, "ü"], "token": "from config"}


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        pytest.param("nope", ("ok", None), id="113-unknown"),
        pytest.param("flag", ("ok", "true"), id="113-boolean"),
        pytest.param("empty", ("ok", ""), id="113-empty"),
        pytest.param("token", ("ok", None), id="113-secret-without-a-store"),
        pytest.param("text", ("ok", "plain"), id="text"),
        pytest.param("list", ("ok", '[1,"ü"]'), id="compact-json"),
        pytest.param("__state", ("config-key-reserved", None), id="reserved"),
    ],
)
def test_get_config(world: Any, sys: Any, key: str, expected: Any) -> None:
    alice = world.open(config=CONFIG, secret_keys=frozenset({"token"}))
    assert sys(alice, "get-config", key) == expected


def test_a_secret_comes_from_the_store_of_the_effective_principal(world: Any, sys: Any) -> None:
    stored = {("alice", "t", "token"): "s3cret", ("alice", "t", "blank"): ""}
    services = {"secrets": lambda *key: stored.get(key)}
    keys = frozenset({"token", "blank"})
    alice = world.open(config=CONFIG, secret_keys=keys, services=services)
    bob = world.open(principal="bob", config=CONFIG, secret_keys=keys, services=services)
    assert sys(alice, "get-config", "token") == ("ok", "s3cret")
    assert sys(alice, "get-config", "blank") == ("ok", None)
    assert sys(bob, "get-config", "token") == ("ok", None)


def test_a_worker_that_waits_for_the_secret_store_is_replaced(world: Any, sys: Any) -> None:
    """A keychain may take seconds; guests of others must not wait for it."""

    def slow(*_key: str) -> str:
        assert world.blocked == ["in"]
        return "s3cret"

    alice = world.open(secret_keys=frozenset({"token"}), services={"secrets": slow})
    assert sys(alice, "get-config", "token") == ("ok", "s3cret")
    assert world.blocked == ["in", "out"]


def test_a_key_that_no_secret_can_have_is_not_looked_up(world: Any, sys: Any) -> None:
    asked: list[object] = []
    alice = world.open(services={"secrets": lambda *key: asked.append(key)})
    for key in ("k" * 257, "k" * 10_000_000, "a:b", "a/b", "a\nb"):
        assert sys(alice, "get-config", key) == ("ok", None)
    assert asked == []


@pytest.mark.parametrize(
    ("held", "expected"), [(set(), None), ({"net_bind"}, "/run/s"), ({"uplink"}, "/run/s")]
)
def test_socket_path_denied_without_a_front_end_capability(
    world: Any, sys: Any, held: set[str], expected: str | None
) -> None:
    config = {"ASTRID_SOCKET_PATH": "/run/s"}
    alice = world.open(config=config, capabilities=frozenset(held))
    assert sys(alice, "get-config", "ASTRID_SOCKET_PATH") == ("ok", expected)


def test_get_caller(world: Any, sys: Any) -> None:
    caller = Caller(Principal("alice"), Attribution.CLAIMED, "some-id", "2026-01-01T00:00:00Z", 2)
    assert sys(world.open(caller=caller), "get-caller") == (
        "ok",
        ("alice", "some-id", "2026-01-01T00:00:00Z"),
    )
    assert sys(world.open(), "get-caller") == ("ok", (None, "", ""))


def test_97_get_caller_after_an_empty_receive(world: Any, sys: Any, call: Any) -> None:
    caller = Caller(Principal("alice"), Attribution.VERIFIED, "id", "2026-01-01T00:00:00Z")
    alice = world.open(caller=caller, subscribe=("a",))
    subscription = call(alice, "subscribe", "a")[1]
    world.emit("a", principal="alice", source_id="other")
    call(alice, IPC_RECV, subscription, 0)
    assert sys(alice, "get-caller") == ("ok", ("alice", "other", ""))
    call(alice, IPC_RECV, subscription, 0)
    assert sys(alice, "get-caller") == ("ok", (None, "", ""))


def test_context_ends_with_the_call(world: Any, sys: Any) -> None:
    caller = Caller(Principal("alice"), Attribution.VERIFIED, "id", "2026-01-01T00:00:00Z")
    alice = world.open(caller=caller)
    alice.leave()
    assert sys(alice, "get-caller") == ("ok", (None, "", ""))


def test_114_capability_queries(world: Any, sys: Any) -> None:
    alice = world.open(capabilities=frozenset({"net", "fs_read"}))
    own = alice.context.spec.source_id
    world.known[own] = frozenset({"net", "fs_read"})

    def check(source: str, capability: str) -> Any:
        return sys(alice, "check-capsule-capability", (source, capability))

    assert check("not-a-uuid", "net") == ("ok", (False,))
    assert check(str(uuid.uuid4()), "net") == ("ok", (False,))
    assert check(own, "net") == ("ok", (True,))
    assert check(own.upper(), "net") == ("ok", (True,))
    assert check(own, "uplink") == ("ok", (False,))
    assert sys(alice, "enumerate-capabilities") == ("ok", ["fs_read", "net"])


def test_capability_query_without_a_registry(world: Any, sys: Any) -> None:
    alice = world.open(services={"capsules": None})
    assert sys(alice, "check-capsule-capability", ("x", "net")) == ("registry-unavailable", None)


def test_clocks(world: Any, sys: Any) -> None:
    alice = world.open()
    assert sys(alice, "clock-ms") == ("ok", 1_770_109_811_120)
    first = sys(alice, "clock-monotonic-ns")[1]
    assert sys(alice, "clock-monotonic-ns")[1] >= first > 0


def test_signal_ready_counts_in_run_loops_only(world: Any, sys: Any) -> None:
    run, plain = world.open(purpose="run"), world.open()
    for instance in (run, plain):
        assert sys(instance, "signal-ready") == ("ok", None)
        assert sys(instance, "signal-ready") == ("ok", None)
    assert run.ready.is_set()
    assert not plain.ready.is_set()


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("hello", "hello"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\u202eb\u2028c\x85", "a\\u202eb\\u2028c\\x85"),
        ("grüße 你好", "grüße 你好"),
        ("tag\U000e0041", "tag\\U000e0041"),
    ],
)
def test_log_lines_cannot_be_forged(world: Any, sys: Any, message: str, line: str) -> None:
    assert sys(world.open(), "log", "warn", message) == ("ok", None)
    assert world.log_lines == [("alice", "t", "WARN", line)]


@pytest.mark.parametrize("text", ["x" * 16385, "ü" * 9000, "\n" * 9000, "你" * 6000])
def test_log_message_is_cut_to_16_kib(world: Any, sys: Any, text: str) -> None:
    sys(world.open(), "log", "info", text)
    line = world.log_lines[0][3]
    assert line.endswith("...[cut]")
    assert 16_300 <= len(line.encode()) <= 16_384
    sys(world.open(), "log", "info", "x" * 16384)
    assert world.log_lines[1][3] == "x" * 16384


def test_log_is_limited_and_says_how_much_is_missing(world: Any, sys: Any) -> None:
    alice = world.open()
    for _ in range(250):
        assert sys(alice, "log", "info", "x") == ("ok", None)
    assert len(world.log_lines) == 200
    world.clock.offset += 1.5
    sys(alice, "log", "info", "later")
    assert [line[3] for line in world.log_lines[200:]] == [
        "50 messages dropped: too many",
        "later",
    ]


def test_log_never_fails(world: Any, sys: Any) -> None:
    class BrokenSink:
        def write(self, *_: object) -> None:
            raise OSError("disk full")

    assert sys(world.open(services={"logs": BrokenSink()}), "log", "info", "x") == ("ok", None)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("token", ("ok", True)),
        ("other", ("ok", False)),
        ("", ("invalid-input", None)),
        ("a:b", ("invalid-input", None)),
        ("a\nb", ("invalid-input", None)),
        ("k" * 257, ("invalid-input", None)),
    ],
)
def test_has_secret(world: Any, call: Any, key: str, expected: Any) -> None:
    interface = "astrid:elicit/host@1.0.0"
    stored = {("alice", "t", "token"): "s3cret"}
    alice = world.open(services={"secrets": lambda *name: stored.get(name)})
    assert call(alice, "has-secret", key, interface=interface) == expected
    if expected[0] == "ok":
        assert world.blocked == ["in", "out"]
        assert call(world.open(), "has-secret", key, interface=interface) == ("ok", False)


def test_a_loop_that_is_ready_names_the_handlers_it_forgot(world: Any, call: Any) -> None:
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(str(message)), level="WARNING")
    try:
        instance = world.open(
            purpose="run",
            bindings=(InterceptorBinding("a.b", "taken"), InterceptorBinding("c", "forgotten")),
        )
        call(instance, "subscribe", "a.b", interface="astrid:ipc/host@1.0.0")
        for _ in range(2):
            call(instance, "signal-ready", interface="astrid:sys/host@1.0.0")
    finally:
        logger.remove(sink)
    assert len(lines) == 1
    assert "topics: c" in lines[0]
