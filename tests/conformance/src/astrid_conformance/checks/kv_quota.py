"""Checks for key-value stores: what a namespace may hold, to the byte."""

from __future__ import annotations

from astrid_conformance.check import in_threads, require, require_equal, require_raises
from astrid_conformance.checks.kv_subject import KV_STORE, NS, OTHER, KvSubject
from astrid_hookspecs.errors import QuotaExceededError
from astrid_hookspecs.stores import KvWrite


@KV_STORE.required
def size_is_keys_plus_values(subject: KvSubject) -> None:
    """`size_bytes` is the sum of key and value lengths in bytes, after every kind of write."""
    store = subject.open()
    require_equal(store.size_bytes(NS), 0, "size of an empty namespace")
    store.set(NS, "é", b"12345")
    require_equal(store.size_bytes(NS), 7, "size after set")
    store.set(NS, "é", b"1")
    require_equal(store.size_bytes(NS), 3, "size after a shorter value")
    store.compare_and_swap(NS, "ab", None, b"123")
    require_equal(store.size_bytes(NS), 8, "size after compare_and_swap")
    store.apply(NS, [KvWrite("ab", None), KvWrite("c", b"")])
    require_equal(store.size_bytes(NS), 4, "size after apply")
    store.delete(NS, "c")
    require_equal(store.size_bytes(NS), 3, "size after delete")
    store.set(OTHER, "key", b"x" * 99)
    require_equal(store.size_bytes(NS), 3, "size after a write elsewhere")
    store.clear_prefix(NS, "")
    require_equal(store.size_bytes(NS), 0, "size after clear_prefix")


@KV_STORE.required
def quota_is_exact(subject: KvSubject) -> None:
    """The last byte of a quota can be used, the next one is refused and changes nothing."""
    store = subject.open()
    store.set(NS, "key", b"1234567", quota_bytes=10)
    require_raises(
        QuotaExceededError,
        lambda: store.set(NS, "key", b"12345678", quota_bytes=10),
        "one byte too many",
    )
    require_raises(
        QuotaExceededError, lambda: store.set(NS, "k", b"", quota_bytes=10), "one more key"
    )
    require_equal(store.get(NS, "key"), b"1234567", "the value after a refusal")
    require_equal(store.size_bytes(NS), 10, "the size after a refusal")
    store.set(OTHER, "key", b"1234567", quota_bytes=10)
    store.set(NS, "more", b"x", quota_bytes=None)


@KV_STORE.required
def quota_holds_for_every_write(subject: KvSubject) -> None:
    """`compare_and_swap` and `apply` obey the quota like `set`, and change nothing when refused."""
    store = subject.open()
    store.set(NS, "key", b"1234567", quota_bytes=10)
    require_raises(
        QuotaExceededError,
        lambda: store.compare_and_swap(NS, "key", b"1234567", b"12345678", quota_bytes=10),
        "a swap beyond the quota",
    )
    require_equal(
        store.compare_and_swap(NS, "key", b"wrong", b"12345678", quota_bytes=10),
        False,
        "a mismatch that would not fit either",
    )
    batch = [KvWrite("a", b"x"), KvWrite("key", None), KvWrite("b", b"x" * 20)]
    require_raises(
        QuotaExceededError,
        lambda: store.apply(NS, batch, quota_bytes=10),
        "a batch that is too big",
    )
    require_equal(store.keys(NS, "", after=None, limit=9).keys, ["key"], "keys after refusals")
    require_equal(store.get(NS, "key"), b"1234567", "the value after refusals")
    fits = [KvWrite("b", b"x" * 9), KvWrite("key", None)]
    store.apply(NS, fits, quota_bytes=10)  # counted at the end, not in between
    require_equal(store.size_bytes(NS), 10, "the size after a batch that fits in the end")


@KV_STORE.required
def shrinking_always_passes(subject: KvSubject) -> None:
    """A namespace above its quota can still be made smaller, but not larger."""
    store = subject.open()
    store.set(NS, "key", b"x" * 97)
    store.set(NS, "key", b"x" * 50, quota_bytes=10)
    store.apply(NS, [KvWrite("key", b"x" * 40)], quota_bytes=10)
    store.compare_and_swap(NS, "key", b"x" * 40, b"x" * 30, quota_bytes=10)
    require_equal(store.size_bytes(NS), 33, "the size after shrinking")
    require_raises(
        QuotaExceededError,
        lambda: store.set(NS, "key", b"x" * 31, quota_bytes=10),
        "growing above the quota",
    )


@KV_STORE.required
def quota_holds_against_races(subject: KvSubject) -> None:
    """Writers at the same time cannot pass the quota together."""
    store = subject.open()
    quota = 100

    def fill(writer: int) -> int:
        written = 0
        for number in range(50):
            try:
                store.set(NS, f"{writer}{number:02}", b"1234567", quota_bytes=quota)
            except QuotaExceededError:
                continue
            written += 1
        return written

    written = in_threads(*[lambda writer=writer: fill(writer) for writer in range(4)])
    require_equal(sum(int(str(count)) for count in written), quota // 10, "writes that passed")
    require(store.size_bytes(NS) <= quota, "the namespace has grown beyond its quota")


@KV_STORE.required
def refusals_do_not_repeat_values(subject: KvSubject) -> None:
    """Neither `repr` nor an error shows a stored value."""
    store = subject.open()
    secret = b"correct-horse-battery-staple"
    store.set(NS, "key", secret)
    error = require_raises(
        QuotaExceededError, lambda: store.set(NS, "other", secret, quota_bytes=1), "a refusal"
    )
    for text in (repr(store), str(store), repr(error), str(error)):
        require("battery" not in text, f"a stored value is shown in {text[:60]!r}")
