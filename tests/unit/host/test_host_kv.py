from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest

from astrid_core.host import kv as host_kv
from astrid_hookspecs.errors import StoreError

MIB = 1024 * 1024


@pytest.fixture
def kv(call: Any) -> Any:
    return partial(call, interface="astrid:kv/host@1.0.0")


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("", id="99-empty"),
        pytest.param("a\0b", id="99-nul"),
        pytest.param("k" * 257, id="99-257-bytes"),
        pytest.param("e\u0301", id="99-not-nfc"),
        pytest.param("a\tb", id="99-tab"),
        pytest.param("a\x9fb", id="99-c1-control"),
        pytest.param("é" * 129, id="99-258-bytes-of-129-characters"),
        pytest.param("__secret:token", id="109"),
    ],
)
def test_key_refused_when_malformed_or_reserved(world: Any, kv: Any, key: str) -> None:
    alice = world.open()
    assert kv(alice, "kv-get", key) == ("invalid-key", None)
    assert kv(alice, "kv-set", key, b"v") == ("invalid-key", None)
    assert kv(alice, "kv-delete", key) == ("invalid-key", None)
    assert kv(alice, "kv-cas", key, None, b"v") == ("invalid-key", None)
    assert world.kv.size_bytes("alice:capsule:t") == 0


def test_key_of_256_bytes_and_the_state_key_of_kits_are_accepted(world: Any, kv: Any) -> None:
    alice = world.open()
    for key in ("k" * 256, "__state", "é"):
        assert kv(alice, "kv-set", key, b"v") == ("ok", None)


def test_100_value_of_1_mib_accepted_one_byte_more_refused(world: Any, kv: Any) -> None:
    alice = world.open()
    assert kv(alice, "kv-set", "k", b"x" * MIB) == ("ok", None)
    assert kv(alice, "kv-set", "k", b"x" * (MIB + 1)) == ("too-large", None)
    assert kv(alice, "kv-cas", "new", None, b"x" * (MIB + 1)) == ("too-large", None)


def test_101_absence_is_not_an_error_and_not_an_empty_value(world: Any, kv: Any) -> None:
    alice = world.open()
    assert kv(alice, "kv-get", "k") == ("ok", None)
    assert kv(alice, "kv-delete", "k") == ("ok", None)
    assert kv(alice, "kv-set", "k", b"") == ("ok", None)
    assert kv(alice, "kv-get", "k") == ("ok", b"")


def test_102_namespaces_are_apart_by_principal_and_by_capsule(world: Any, kv: Any) -> None:
    assert kv(world.open(), "kv-set", "k", b"v") == ("ok", None)
    assert kv(world.open(principal="bob"), "kv-get", "k") == ("ok", None)
    assert kv(world.open(capsule="other"), "kv-get", "k") == ("ok", None)
    assert kv(world.open(), "kv-get", "k") == ("ok", b"v")


def test_103_compare_and_swap(world: Any, kv: Any) -> None:
    alice = world.open()
    assert kv(alice, "kv-cas", "k", None, b"v") == ("ok", None)
    assert kv(alice, "kv-cas", "k", None, b"v") == ("cas-mismatch", None)
    assert kv(alice, "kv-cas", "k", b"v", b"w") == ("ok", None)
    assert kv(alice, "kv-cas", "k", b"v", b"z") == ("cas-mismatch", None)
    assert kv(alice, "kv-get", "k") == ("ok", b"w")


def test_104_and_105_listing_and_paging_above_1024_keys(world: Any, kv: Any) -> None:
    alice = world.open()
    keys = [f"k{number:05}" for number in range(1025)]
    for key in reversed(keys[:1024]):
        kv(alice, "kv-set", key, b"")
    assert kv(alice, "kv-list-keys", "") == ("ok", keys[:1024])
    kv(alice, "kv-set", keys[1024], b"")
    assert kv(alice, "kv-list-keys", "") == ("too-large", None)
    first = kv(alice, "kv-list-keys-page", "", None, 0)
    assert first == ("ok", (keys[:1024], keys[1023]))
    assert kv(alice, "kv-list-keys-page", "", keys[1023], 0) == ("ok", ([keys[1024]], None))
    assert kv(alice, "kv-list-keys-page", "", None, 5000) == first


def test_106_page_goes_on_after_a_deleted_cursor(world: Any, kv: Any) -> None:
    alice = world.open()
    for key in ("a", "b", "c"):
        kv(alice, "kv-set", key, b"")
    assert kv(alice, "kv-list-keys-page", "", None, 2) == ("ok", (["a", "b"], "b"))
    kv(alice, "kv-delete", "b")
    assert kv(alice, "kv-list-keys-page", "", "b", 2) == ("ok", (["c"], None))


def test_107_no_cursor_when_the_page_ends_with_the_keys(world: Any, kv: Any) -> None:
    alice = world.open()
    for key in ("a", "b", "c"):
        kv(alice, "kv-set", key, b"")
    assert kv(alice, "kv-list-keys-page", "", None, 3) == ("ok", (["a", "b", "c"], None))


def test_108_clear_prefix(world: Any, kv: Any) -> None:
    alice = world.open()
    for key in ("a", "ab", "b", "c"):
        kv(alice, "kv-set", key, b"")
    assert kv(alice, "kv-clear-prefix", "a") == ("ok", 2)
    assert kv(alice, "kv-clear-prefix", "a\0") == ("invalid-key", None)
    assert kv(alice, "kv-clear-prefix", "") == ("ok", 2)
    assert kv(alice, "kv-list-keys", "") == ("ok", [])


@pytest.mark.parametrize(("stops", "left"), [(True, 3), (False, 0)])
def test_the_end_of_the_call_ends_the_clearing(
    world: Any, kv: Any, monkeypatch: pytest.MonkeyPatch, *, stops: bool, left: int
) -> None:
    monkeypatch.setattr(host_kv, "CLEARED_AT_ONCE", 2)
    alice = world.open()
    for number in range(7):
        kv(alice, "kv-set", f"k{number}", b"")
    looks = iter((False, stops, False, False))
    monkeypatch.setattr(alice, "is_stopped", lambda: next(looks))
    expected = ("unknown", "the call ended before all keys were removed") if stops else ("ok", 7)
    assert kv(alice, "kv-clear-prefix", "k") == expected
    assert len(kv(alice, "kv-list-keys", "")[1]) == left


def test_110_concurrent_increments_with_compare_and_swap_lose_nothing(world: Any, kv: Any) -> None:
    setup = world.open()
    assert kv(setup, "kv-set", "n", b"0") == ("ok", None)
    instances = [world.open() for _ in range(8)]

    def increment(instance: Any) -> None:
        for _ in range(100):
            while True:
                old = kv(instance, "kv-get", "n")[1]
                new = str(int(old) + 1).encode()
                if kv(instance, "kv-cas", "n", old, new)[0] == "ok":
                    break

    threads = [threading.Thread(target=increment, args=(one,)) for one in instances]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert kv(setup, "kv-get", "n") == ("ok", b"800")


def test_write_denied_when_the_storage_limit_is_reached(world: Any, kv: Any) -> None:
    world.quotas.max_storage_bytes = 10
    alice = world.open()
    assert kv(alice, "kv-set", "k", b"123456789") == ("ok", None)
    assert kv(alice, "kv-set", "l", b"") == ("quota", None)
    assert kv(alice, "kv-cas", "l", None, b"") == ("quota", None)
    assert kv(alice, "kv-set", "k", b"12") == ("ok", None)
    assert [(one.action, one.rule) for one in world.decisions] == [
        ("kv.set", "max_storage_bytes"),
        ("kv.cas", "max_storage_bytes"),
    ]


def test_a_failing_store_is_unknown_and_says_nothing_about_the_host(world: Any, kv: Any) -> None:
    class BrokenStore:
        def get(self, *_: object) -> bytes:
            raise StoreError("/var/lib/secret/path is damaged")

    alice = world.open(services={"kv": BrokenStore()})
    assert kv(alice, "kv-get", "k") == ("unknown", "internal error")
