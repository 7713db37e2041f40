"""Checks for key-value stores: values, order, prefixes, races.

Spec: kernel-and-security 9.1; `astrid_hookspecs.stores`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from astrid_conformance.check import in_threads, require, require_equal, require_raises
from astrid_conformance.checks.kv_subject import KV_STORE, NS, OTHER, KvSubject
from astrid_hookspecs.errors import StoreError
from astrid_hookspecs.stores import KvWrite

_ROUNDS: Final = 50
_MOST_ROUNDS: Final = 2000
_LOOKS: Final = 30
_PAUSE_S: Final = 0.0005
_THREADS: Final = 4


@KV_STORE.required
def absent_is_none(subject: KvSubject) -> None:
    """An absent key is None, also before anything was written."""
    store = subject.open()
    require_equal(store.get(NS, "absent"), None, "get of an absent key")
    store.set(NS, "other", b"x")
    require_equal(store.get(NS, "absent"), None, "get of an absent key")


@KV_STORE.required
def empty_value_is_a_value(subject: KvSubject) -> None:
    """An empty value is stored and is not absence."""
    store = subject.open()
    store.set(NS, "key", b"")
    require_equal(store.get(NS, "key"), b"", "get of an empty value")
    require_equal(store.keys(NS, "", after=None, limit=9).keys, ["key"], "keys")
    require_equal(store.delete(NS, "key"), True, "delete of an empty value")


@KV_STORE.required
def values_come_back_unchanged(subject: KvSubject) -> None:
    """Every byte, and a mebibyte of them, comes back as it was."""
    store = subject.open()
    every = bytes(range(256))
    for name, value in (("every", every), ("nul", b"\0" * 9), ("large", every * 4096)):
        store.set(NS, name, value)
        require_equal(store.get(NS, name), value, f"the value {name!r}")


@KV_STORE.required
def set_replaces(subject: KvSubject) -> None:
    """A second set replaces the first, shorter or longer."""
    store = subject.open()
    for value in (b"long value", b"s", b"a longer value than before"):
        store.set(NS, "key", value)
        require_equal(store.get(NS, "key"), value, "get after set")
    require_equal(store.keys(NS, "", after=None, limit=9).keys, ["key"], "keys")


@KV_STORE.required
def delete_tells_whether_it_existed(subject: KvSubject) -> None:
    """Deleting an absent key returns False and is no error."""
    store = subject.open()
    require_equal(store.delete(NS, "key"), False, "delete of an absent key")
    store.set(NS, "key", b"x")
    require_equal(store.delete(NS, "key"), True, "delete of a key")
    require_equal(store.delete(NS, "key"), False, "second delete")
    require_equal(store.get(NS, "key"), None, "get after delete")


@KV_STORE.required
def namespaces_never_meet(subject: KvSubject) -> None:
    """What happens in one namespace is invisible in every other."""
    store = subject.open()
    # Pairs that meet where a store joins the two texts with a separator.
    pairs = [("a", "b:c"), ("a:b", "c"), ("a/b", "c"), ("a", "b/c"), ("A", "b:c"), ("a ", "b:c")]
    for number, (namespace, key) in enumerate(pairs):
        store.set(namespace, key, str(number).encode())
    for number, (namespace, key) in enumerate(pairs):
        require_equal(store.get(namespace, key), str(number).encode(), f"{namespace!r} {key!r}")
        found = store.keys(namespace, "", after=None, limit=9).keys
        expected = sorted({key for other, key in pairs if other == namespace})
        require_equal(found, expected, f"keys of {namespace!r}")
    require_equal(store.clear_prefix("a", ""), 2, "clear_prefix of a namespace")
    require_equal(store.get("a:b", "c"), b"1", "a neighbour after clear_prefix")


@KV_STORE.required
def keys_are_in_byte_order(subject: KvSubject) -> None:
    """Keys come in ascending order of their UTF-8 bytes, whatever the order of writing."""
    store = subject.open()
    names = ["b", "a", "B", "Z", "10", "9", "é", "e\u0301", "z", "\uffff", "\U0001f600", "a\x01"]
    for name in names:
        store.set(NS, name, b"x")
    expected = sorted(names, key=str.encode)
    require_equal(store.keys(NS, "", after=None, limit=99).keys, expected, "keys")


@KV_STORE.required
def pages_are_exact(subject: KvSubject) -> None:
    """`after` is exclusive, `limit` is kept, and `more` is true only when a key follows."""
    store = subject.open()
    names = [f"k{number:02}" for number in range(7)]
    for name in names:
        store.set(NS, name, b"x")
    page = store.keys(NS, "k", after=None, limit=3)
    require_equal((page.keys, page.more), (names[:3], True), "first page")
    page = store.keys(NS, "k", after="k02", limit=3)
    require_equal((page.keys, page.more), (names[3:6], True), "second page")
    page = store.keys(NS, "k", after="k05", limit=3)
    require_equal((page.keys, page.more), (names[6:], False), "last page")
    page = store.keys(NS, "k", after=None, limit=7)
    require_equal((page.keys, page.more), (names, False), "page that holds all")
    page = store.keys(NS, "k", after="k020", limit=1)
    require_equal((page.keys, page.more), (["k03"], True), "page after a key that is absent")
    page = store.keys(NS, "k", after="zzz", limit=3)
    require_equal((page.keys, page.more), ([], False), "page after the end")


@KV_STORE.required
def prefixes_are_literal(subject: KvSubject) -> None:
    """A prefix is text, not a pattern, and upper and lower case differ."""
    store = subject.open()
    names = [
        "a%b",
        "a_b",
        "a*b",
        "aXb",
        "A%b",
        "a[b]",
        "a\\b",
        "a'b",
        "a",
        "ab",
        "b",
        "a\U0010ffff",
    ]
    for name in names:
        store.set(NS, name, b"x")
    for prefix in ("a%", "a_", "a*", "a[", "a\\", "a'", "A", "a", "", "zz", "a\U0010ffff"):
        expected = sorted((name for name in names if name.startswith(prefix)), key=str.encode)
        found = store.keys(NS, prefix, after=None, limit=99).keys
        require_equal(found, expected, f"keys with the prefix {prefix!r}")


@KV_STORE.required
def clear_prefix_counts_and_spares_the_rest(subject: KvSubject) -> None:
    """`clear_prefix` removes exactly what starts with the prefix and says how many."""
    store = subject.open()
    for name in ("note/1", "note/2", "notebook", "not", "%"):
        store.set(NS, name, b"x")
        store.set(OTHER, name, b"x")
    require_equal(store.clear_prefix(NS, "note/"), 2, "clear_prefix")
    require_equal(store.clear_prefix(NS, "%%"), 0, "clear_prefix without a match")
    left = store.keys(NS, "", after=None, limit=9).keys
    require_equal(left, ["%", "not", "notebook"], "keys after clear_prefix")
    require_equal(store.clear_prefix(NS, ""), 3, "clear_prefix of everything")
    require_equal(len(store.keys(OTHER, "", after=None, limit=9).keys), 5, "the other namespace")


@KV_STORE.required
def clear_prefix_keeps_to_its_limit(subject: KvSubject) -> None:
    """With a limit, `clear_prefix` removes so many of the first keys and leaves the others."""
    store = subject.open()
    names = [f"n{number:04}" for number in range(1500)]
    for name in names:
        store.set(NS, name, b"x")
    require_equal(store.clear_prefix(NS, "n", limit=2), 2, "clear_prefix with a limit of 2")
    left = store.keys(NS, "", after=None, limit=2).keys
    require_equal(left, names[2:4], "the first keys afterwards")
    require_equal(store.clear_prefix(NS, "n", limit=1200), 1200, "with a limit of 1200")
    require_equal(store.clear_prefix(NS, "n", limit=1200), 298, "the last keys")
    require_equal(store.size_bytes(NS), 0, "size afterwards")


@KV_STORE.required
def hostile_text_is_only_text(subject: KvSubject) -> None:
    """Quotes, statements, long and composed characters are keys like any other."""
    store = subject.open()
    names = [
        "'; DROP TABLE kv; --",
        '"',
        "\\",
        "../../etc/passwd",
        "new\nline",
        "\x7f",
        "é",
        "e\u0301",
        "x" * 4096,
        "-- ",
        "?1",
        "NULL",
    ]
    for number, name in enumerate(names):
        store.set(name, name, str(number).encode())
    for number, name in enumerate(names):
        require_equal(store.get(name, name), str(number).encode(), f"key {name[:30]!r}")


@KV_STORE.required
def compare_and_swap_compares(subject: KvSubject) -> None:
    """A swap happens only when the value is the expected one; None means absent."""
    store = subject.open()
    swap = store.compare_and_swap
    require_equal(swap(NS, "key", b"old", b"new"), False, "swap of an absent key")
    require_equal(store.get(NS, "key"), None, "the key after a refused swap")
    require_equal(swap(NS, "key", None, b""), True, "creation")
    require_equal(swap(NS, "key", None, b"x"), False, "creation of a key with an empty value")
    require_equal(swap(NS, "key", b"x", b"y"), False, "swap with a wrong expectation")
    require_equal(store.get(NS, "key"), b"", "the value after refused swaps")
    require_equal(swap(NS, "key", b"", b"new"), True, "swap of an empty value")
    require_equal(store.get(NS, "key"), b"new", "the value after a swap")


@KV_STORE.required
def compare_and_swap_loses_no_update(subject: KvSubject) -> None:
    """Counters that several threads increase by swapping end at the right number."""
    store = subject.open()
    store.set(NS, "counter", b"0")

    def increase() -> None:
        for _ in range(_ROUNDS):
            while True:
                value = store.get(NS, "counter") or b"0"
                if store.compare_and_swap(NS, "counter", value, str(int(value) + 1).encode()):
                    break

    in_threads(*[increase] * _THREADS)
    require_equal(store.get(NS, "counter"), str(_ROUNDS * _THREADS).encode(), "the counter")


@KV_STORE.required
def compare_and_swap_and_set_exclude_each_other(subject: KvSubject) -> None:
    """A swap never overwrites a plain set that it did not see (Spec: kernel-and-security D-58)."""
    store = subject.open()
    high = 10**9
    for round_number in range(_ROUNDS):
        key = f"key-{round_number}"
        store.set(NS, key, b"0")

        def increase(key: str = key) -> None:
            for _ in range(5):
                value = store.get(NS, key) or b"0"
                store.compare_and_swap(NS, key, value, str(int(value) + 1).encode())

        def jump(key: str = key) -> None:
            store.set(NS, key, str(high).encode())

        in_threads(increase, jump, increase)
        value = int(store.get(NS, key) or b"0")
        require(value >= high, f"a swap overwrote a set it had not seen: {value}")


@KV_STORE.required
def apply_is_all_at_once(subject: KvSubject) -> None:
    """A batch is applied in order, and nobody sees half of it."""
    store = subject.open()
    store.apply(
        NS, [KvWrite("a", b"1"), KvWrite("a", None), KvWrite("b", b"1"), KvWrite("b", b"2")]
    )
    require_equal(store.get(NS, "a"), None, "set and then deleted in one batch")
    require_equal(store.get(NS, "b"), b"2", "set twice in one batch")
    store.apply(NS, [KvWrite("absent", None)])
    store.apply(NS, [])
    done = threading.Event()
    looks: list[int] = []
    store.apply(OTHER, [KvWrite("left", b"x")])

    def swing() -> None:
        try:
            for number in range(_MOST_ROUNDS):
                side, away = ("right", "left") if number % 2 else ("left", "right")
                store.apply(OTHER, [KvWrite(side, None), KvWrite(away, b"x")])
                if number > _ROUNDS and len(looks) >= _LOOKS:
                    break
        finally:
            done.set()

    def watch() -> None:
        while not done.wait(_PAUSE_S):  # which lets `swing` have a lock that both need
            found = store.keys(OTHER, "", after=None, limit=9).keys
            looks.append(len(found))
            require(len(found) == 1, f"half of a batch was visible: {found}")

    in_threads(swing, watch)


@KV_STORE.required
def writes_are_visible_to_other_threads_at_once(subject: KvSubject) -> None:
    """When a write has returned, every other thread reads it."""
    store = subject.open()
    baton = [threading.Semaphore(1), threading.Semaphore(0)]

    def play(mine: int) -> None:
        for number in range(mine, _ROUNDS, 2):
            require(baton[mine].acquire(timeout=5), "the other thread does not come back")
            if number:
                found = store.get(NS, "ball")
                require_equal(found, str(number - 1).encode(), "what the other thread wrote")
            store.set(NS, "ball", str(number).encode())
            baton[1 - mine].release()

    in_threads(lambda: play(0), lambda: play(1))


@KV_STORE.required
def closing_ends_everything(subject: KvSubject) -> None:
    """`close` may be called twice; afterwards every method raises `StoreError`."""
    store = subject.open()
    store.set(NS, "key", b"x")
    store.close()
    store.close()
    calls: dict[str, Callable[[], object]] = {
        "get": lambda: store.get(NS, "key"),
        "set": lambda: store.set(NS, "key", b"y"),
        "delete": lambda: store.delete(NS, "key"),
        "keys": lambda: store.keys(NS, "", after=None, limit=1),
        "clear_prefix": lambda: store.clear_prefix(NS, ""),
        "compare_and_swap": lambda: store.compare_and_swap(NS, "key", b"x", b"y"),
        "apply": lambda: store.apply(NS, [KvWrite("key", b"y")]),
        "size_bytes": lambda: store.size_bytes(NS),
        "flush": store.flush,
    }
    for name, call in calls.items():
        require_raises(StoreError, call, f"{name} after close")
