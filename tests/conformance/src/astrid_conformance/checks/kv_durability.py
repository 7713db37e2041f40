"""Checks for key-value stores: what is still there after a crash."""

from __future__ import annotations

import stat

from astrid_conformance.check import require, require_equal
from astrid_conformance.checks.kv_subject import KV_STORE, NS, KvSubject
from astrid_conformance.child import in_second_process, step
from astrid_hookspecs.stores import KvWrite


@KV_STORE.required
def closing_keeps_everything(subject: KvSubject) -> None:
    """What was written before `close` is there when the store is opened again."""
    store = subject.open()
    store.set(NS, "key", b"value")
    store.set(NS, "gone", b"value")
    store.delete(NS, "gone")
    store.close()
    again = subject.open()
    require_equal(again.get(NS, "key"), b"value", "a value after opening again")
    require_equal(again.get(NS, "gone"), None, "a deleted value after opening again")
    require_equal(again.size_bytes(NS), 8, "the size after opening again")


@KV_STORE.required
def another_process_reads_it(subject: KvSubject) -> None:
    """What one process wrote and closed, the next one reads."""
    store = subject.open()
    store.set(NS, "key", b"value")
    store.close()
    found = in_second_process(
        subject.factory, subject.directory, steps=[step("get", NS, "key")], crash=False
    )
    require_equal(found, [b"value"], "what a second process reads")


@KV_STORE.required
def durable_writes_survive_a_crash(subject: KvSubject) -> None:
    """`durable=True`, `compare_and_swap` and `apply` are on the disk when they return."""
    writes = {
        "set": step("set", NS, "set", b"value", durable=True),
        "compare_and_swap": step("compare_and_swap", NS, "compare_and_swap", None, b"value"),
        "apply": step("apply", NS, [KvWrite("apply", b"value")]),
    }
    for key, write in writes.items():
        in_second_process(subject.factory, subject.directory, steps=[write], crash=True)
        store = subject.open()
        require_equal(store.get(NS, key), b"value", f"{key} before a crash")
        store.close()


@KV_STORE.required
def flushed_writes_survive_a_crash(subject: KvSubject) -> None:
    """After `flush`, plain writes and deletions survive a crash, with the size counted right."""
    writes = [step("set", NS, f"key{number}", b"value") for number in range(20)]
    steps = [*writes, step("delete", NS, "key0"), step("flush")]
    in_second_process(subject.factory, subject.directory, steps=steps, crash=True)
    store = subject.open()
    require_equal(len(store.keys(NS, "", after=None, limit=99).keys), 19, "keys after a crash")
    require_equal(store.get(NS, "key0"), None, "a deleted key after a crash")
    found = store.keys(NS, "", after=None, limit=99).keys
    expected = sum(len(key) + len(b"value") for key in found)
    require_equal(store.size_bytes(NS), expected, "the size after a crash")


@KV_STORE.required
def files_are_private(subject: KvSubject) -> None:
    """No file of the store can be read or written by other users."""
    store = subject.open()
    store.set(NS, "key", b"value", durable=True)
    for path in subject.directory.rglob("*"):
        mode = path.lstat().st_mode
        require(
            stat.S_IMODE(mode) & 0o077 == 0 or stat.S_ISLNK(mode),
            f"{path.name} has mode {stat.S_IMODE(mode):04o}",
        )
