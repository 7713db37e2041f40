"""The default key-value store: semantics, quota, durability, damage."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from astrid_core.builtin.sqlite_file import prefix_end
from astrid_core.builtin.sqlite_kv import CACHE_BYTES, CACHE_VALUE_BYTES, SqliteKvStore
from astrid_hookspecs.errors import QuotaExceededError, StoreError
from astrid_hookspecs.stores import KvWrite

NS = "alice:capsule:notes"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteKvStore]:
    kv = SqliteKvStore(tmp_path)
    yield kv
    kv.close()


def test_an_empty_value_is_not_absence(store: SqliteKvStore) -> None:
    assert store.get(NS, "k") is None
    store.set(NS, "k", b"")
    assert store.get(NS, "k") == b""
    assert store.delete(NS, "k")
    assert not store.delete(NS, "k")
    assert store.get(NS, "k") is None


def test_namespaces_do_not_see_each_other(store: SqliteKvStore) -> None:
    store.set(NS, "k", b"1")
    assert store.get("bob:capsule:notes", "k") is None
    assert store.keys("bob:capsule:notes", "", after=None, limit=9).keys == []
    assert store.clear_prefix("bob:capsule:notes", "") == 0
    assert not store.delete("bob:capsule:notes", "k")
    assert store.get(NS, "k") == b"1"


def test_keys_are_sorted_by_bytes_and_paged(store: SqliteKvStore) -> None:
    for key in ("b", "a", "é", "aa", "\U0001f600", "z"):
        store.set(NS, key, b"v")
    everything = store.keys(NS, "", after=None, limit=99)
    assert everything.keys == sorted(everything.keys, key=str.encode)
    assert not everything.more
    assert store.keys(NS, "a", after=None, limit=1) == (["a"], True)
    assert store.keys(NS, "a", after="a", limit=1) == (["aa"], False)
    assert store.keys(NS, "", after="deleted-meanwhile", limit=1) == (["z"], True)


@pytest.mark.parametrize(
    ("prefix", "end"),
    [("", None), ("a", "b"), ("a\U0010ffff", "b"), ("\U0010ffff", None), ("\ud7ff", "\ue000")],
)
def test_prefix_range_covers_exactly_the_prefix(prefix: str, end: str | None) -> None:
    assert prefix_end(prefix) == end


def test_clear_prefix_counts_and_leaves_the_rest(store: SqliteKvStore) -> None:
    for key in ("a", "ab", "b"):
        store.set(NS, key, b"v")
    assert store.clear_prefix(NS, "a") == 2
    assert store.get(NS, "ab") is None
    assert store.get(NS, "b") == b"v"
    assert store.size_bytes(NS) == 2


def test_compare_and_swap_changes_only_on_a_match(store: SqliteKvStore) -> None:
    assert store.compare_and_swap(NS, "k", None, b"v")
    assert not store.compare_and_swap(NS, "k", None, b"x")
    assert store.compare_and_swap(NS, "k", b"v", b"w")
    assert not store.compare_and_swap(NS, "k", b"v", b"z")
    assert store.get(NS, "k") == b"w"


def test_concurrent_increments_are_all_counted(store: SqliteKvStore) -> None:
    def increment() -> None:
        for _ in range(100):
            while True:
                old = store.get(NS, "n")
                if store.compare_and_swap(NS, "n", old, b"%d" % (int(old or b"0") + 1)):
                    break

    threads = [threading.Thread(target=increment) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get(NS, "n") == b"800"


def test_a_write_beyond_the_quota_is_denied_when_the_namespace_is_full(
    store: SqliteKvStore,
) -> None:
    store.set(NS, "k", b"x" * 99, quota_bytes=100)
    assert store.size_bytes(NS) == 100
    with pytest.raises(QuotaExceededError) as caught:
        store.set(NS, "l", b"", quota_bytes=100)
    assert caught.value.rule == "max_storage_bytes"
    with pytest.raises(QuotaExceededError):
        store.compare_and_swap(NS, "k", b"x" * 99, b"x" * 100, quota_bytes=100)
    assert store.get(NS, "k") == b"x" * 99
    store.set(NS, "k", b"x" * 98, quota_bytes=1)  # a shrinking write always passes
    assert store.size_bytes(NS) == 99


def test_a_batch_is_all_or_nothing(store: SqliteKvStore) -> None:
    store.set(NS, "old", b"1")
    with pytest.raises(QuotaExceededError):
        store.apply(NS, [KvWrite("old", None), KvWrite("new", b"x" * 50)], quota_bytes=20)
    assert store.get(NS, "old") == b"1"
    assert store.get(NS, "new") is None
    assert store.size_bytes(NS) == 4
    store.apply(NS, [KvWrite("old", None), KvWrite("new", b"2")], quota_bytes=20)
    assert store.get(NS, "old") is None
    assert store.get(NS, "new") == b"2"


def test_values_above_the_cache_limit_are_read_back(store: SqliteKvStore) -> None:
    big = b"y" * (CACHE_VALUE_BYTES + 1)
    store.set(NS, "big", b"small")
    store.set(NS, "big", big)
    assert store.get(NS, "big") == big


def test_the_cache_stays_within_its_bound(store: SqliteKvStore) -> None:
    value = b"z" * CACHE_VALUE_BYTES
    for index in range(CACHE_BYTES // CACHE_VALUE_BYTES + 20):
        store.set(NS, f"k{index}", value)
    assert store._cache_bytes <= CACHE_BYTES
    assert store.get(NS, "k0") == value


def test_data_survives_reopening(tmp_path: Path) -> None:
    first = SqliteKvStore(tmp_path)
    first.set(NS, "k", b"v")
    first.close()
    first.close()
    second = SqliteKvStore(tmp_path)
    assert second.get(NS, "k") == b"v"
    assert second.size_bytes(NS) == 2
    second.close()
    with pytest.raises(StoreError, match="closed"):
        second.get(NS, "other")


KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from astrid_core.builtin.sqlite_kv import SqliteKvStore
store = SqliteKvStore(Path(sys.argv[1]))
for index in range(200):
    store.set("n", f"k{index}", b"v", durable=index % 20 == 0)
    if index % 20 == 0:
        print(index, flush=True)
store.set("n", "flushed", b"v")
store.flush()
print("flushed", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_durable_writes_survive_kill_9(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", KILLED_WRITER, str(tmp_path)],
        stdout=subprocess.PIPE, timeout=60, check=False,
    )  # fmt: skip
    assert child.returncode == -9
    promised = child.stdout.decode().split()
    assert promised[-1] == "flushed"
    store = SqliteKvStore(tmp_path)
    try:
        assert all(store.get("n", f"k{index}") == b"v" for index in promised[:-1])
        assert store.get("n", "flushed") == b"v"
        assert store.size_bytes("n") == sum(
            len(key) + 1 for key in store.keys("n", "", after=None, limit=999).keys
        )
    finally:
        store.close()


def test_a_second_opener_is_refused(store: SqliteKvStore, tmp_path: Path) -> None:
    assert store.get(NS, "k") is None
    with pytest.raises(StoreError, match="in use"):
        SqliteKvStore(tmp_path)


def test_a_damaged_file_gives_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"this is not a database" * 500)
    with pytest.raises(StoreError, match="damaged"):
        SqliteKvStore(tmp_path)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    store = SqliteKvStore(tmp_path)
    store._db.execute("PRAGMA user_version = 9")
    store.close()
    with pytest.raises(StoreError, match="format 9"):
        SqliteKvStore(tmp_path)


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    (tmp_path / "state.db").symlink_to(elsewhere)
    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteKvStore(tmp_path)
    assert elsewhere.read_bytes() == b""


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from astrid_core.builtin.sqlite_kv import SqliteKvStore
from astrid_hookspecs.errors import StoreError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = SqliteKvStore(Path(sys.argv[1]))
store.set("n", "before", b"v", durable=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    for index in range(64):
        store.set("n", f"k{index}", b"x" * 100_000, durable=True)
except StoreError as error:
    print("refused:", error.code)
try:
    store.get("n", "uncached")
except StoreError as error:
    print("refused:", error.code)
try:
    store.close()
except StoreError as error:
    print("closed:", error.code)
"""


def test_a_full_disk_is_reported_and_loses_nothing_committed(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        stdout=subprocess.PIPE, timeout=60, check=True, text=True,
    )  # fmt: skip
    assert child.stdout.count("refused: store.failed") == 2
    assert "closed: store.failed" in child.stdout
    store = SqliteKvStore(tmp_path)
    assert store.get("n", "before") == b"v"
    store.close()


def test_clearing_very_many_keys_lets_others_in_between(store: SqliteKvStore) -> None:
    """A store may be as large as its limit; no other principal waits until it is empty."""
    count = 8000
    store.apply(NS, [KvWrite(f"{number:05}", b"") for number in range(count)])
    cleared = threading.Event()
    written = 0

    def neighbour() -> None:
        nonlocal written
        while not cleared.is_set():
            store.set("bob:capsule:notes", "k", b"v")
            written += 1
            cleared.wait(0.0005)

    thread = threading.Thread(target=neighbour)
    thread.start()
    try:
        assert store.clear_prefix(NS, "") == count
    finally:
        cleared.set()
        thread.join()
    assert written > 4  # a turn between any two pages, not one before and one behind all of them
    assert store.size_bytes(NS) == 0


def test_what_is_cleared_and_its_size_are_one_transaction(store: SqliteKvStore) -> None:
    """A crash between the two would charge the principal for good for what is gone."""
    store.apply(NS, [KvWrite(f"k{number}", b"value") for number in range(10)])
    statements: list[str] = []
    store._db.set_trace_callback(statements.append)
    store.clear_prefix(NS, "")
    store.flush()
    kinds = [statement.split()[0] for statement in statements]
    assert kinds.index("BEGIN") < kinds.index("DELETE") < kinds.index("UPDATE")
    assert kinds.index("UPDATE") < kinds.index("COMMIT")
    assert kinds.count("UPDATE") == 1
