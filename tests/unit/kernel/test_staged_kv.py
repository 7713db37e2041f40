"""Staged writes are visible to the hook, invisible outside, and applied at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid_core.builtin.sqlite_kv import SqliteKvStore
from astrid_core.kernel.staged_kv import StagedKv
from astrid_hookspecs.errors import QuotaExceededError
from astrid_hookspecs.stores import KvWrite

NS = "default:capsule:notes"


def commit(staged: StagedKv, base: SqliteKvStore) -> None:
    for namespace, writes in staged.writes().items():
        base.apply(namespace, writes)


@pytest.fixture
def base(tmp_path: Path) -> Iterator[SqliteKvStore]:
    store = SqliteKvStore(tmp_path)
    store.set(NS, "kept", b"1")
    store.set(NS, "gone", b"2")
    yield store
    store.close()


def test_nothing_reaches_the_base_before_commit(base: SqliteKvStore) -> None:
    staged = StagedKv(base)
    staged.set(NS, "new", b"3")
    assert staged.delete(NS, "gone")
    assert not staged.delete(NS, "gone")
    assert staged.get(NS, "new") == b"3"
    assert staged.get(NS, "gone") is None
    assert staged.get(NS, "kept") == b"1"
    assert staged.keys(NS, "", after=None, limit=9) == (["kept", "new"], False)
    assert staged.size_bytes(NS) == 9
    assert base.keys(NS, "", after=None, limit=9).keys == ["gone", "kept"]
    staged.flush()
    commit(staged, base)
    assert base.keys(NS, "", after=None, limit=9).keys == ["kept", "new"]
    assert base.size_bytes(NS) == 9


def test_close_drops_what_was_staged(base: SqliteKvStore) -> None:
    staged = StagedKv(base)
    assert staged.clear_prefix(NS, "", limit=0) == 0
    assert [staged.clear_prefix(NS, "", limit=1) for _ in range(3)] == [1, 1, 0]
    assert staged.clear_prefix(NS, "") == 0
    assert staged.keys(NS, "", after=None, limit=9).keys == []
    staged.close()
    commit(staged, base)
    assert base.get(NS, "kept") == b"1"


def test_quota_counts_staged_bytes(base: SqliteKvStore) -> None:
    staged = StagedKv(base)
    with pytest.raises(QuotaExceededError):
        staged.set(NS, "big", b"x" * 50, quota_bytes=40)
    with pytest.raises(QuotaExceededError):
        staged.apply(NS, [KvWrite("a", b"x" * 20), KvWrite("b", b"x" * 20)], quota_bytes=40)
    assert staged.get(NS, "a") is None
    assert staged.compare_and_swap(NS, "kept", b"1", b"9", quota_bytes=40)
    assert not staged.compare_and_swap(NS, "kept", b"1", b"0", quota_bytes=40)
    staged.apply(NS, [KvWrite("a", b"x"), KvWrite("kept", None)], quota_bytes=40)
    commit(staged, base)
    assert base.get(NS, "a") == b"x"
    assert base.get(NS, "kept") is None


KEYS = st.sampled_from(["a", "aa", "ab", "b", "c", "ca"])


@settings(max_examples=60, deadline=None)
@given(
    start=st.dictionaries(KEYS, st.binary(max_size=3)),
    steps=st.lists(st.tuples(KEYS, st.one_of(st.none(), st.binary(max_size=3))), max_size=8),
    prefix=st.sampled_from(["", "a", "c"]),
    after=st.one_of(st.none(), KEYS),
    limit=st.integers(1, 4),
)
@pytest.mark.slow
def test_listing_equals_a_plain_dictionary(
    tmp_path_factory: pytest.TempPathFactory,
    start: dict[str, bytes],
    steps: list[tuple[str, bytes | None]],
    prefix: str,
    after: str | None,
    limit: int,
) -> None:
    base = SqliteKvStore(tmp_path_factory.mktemp("kv"))
    try:
        base.apply(NS, [KvWrite(*item) for item in start.items()])
        staged = StagedKv(base)
        model = dict(start)
        for key, value in steps:
            if value is None:
                assert staged.delete(NS, key) == (model.pop(key, None) is not None)
            else:
                staged.set(NS, key, value)
                model[key] = value
        matching = sorted(
            key for key in model if key.startswith(prefix) and (after is None or key > after)
        )
        page = staged.keys(NS, prefix, after=after, limit=limit)
        assert page == (matching[:limit], len(matching) > limit)
        assert staged.size_bytes(NS) == sum(len(k) + len(v) for k, v in model.items())
    finally:
        base.close()
