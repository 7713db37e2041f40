"""The key-value store by itself, as information: how long an operation takes."""

from __future__ import annotations

import itertools

from astrid_core.builtin.sqlite_kv import SqliteKvStore
from tests.benchmarks.kernel_side import scratch
from tests.benchmarks.measure import Row, alternate, information, micro

VALUE = b"v" * 64
SPACE = "default:capsule:bench"


def run(*, quick: bool = False) -> list[Row]:
    """Measure."""
    rounds = 3 if quick else 9
    numbers = itertools.count()
    with scratch() as directory:
        store = SqliteKvStore(directory)
        try:
            store.set(SPACE, "key", VALUE)
            reads = alternate(
                lambda: store.get(SPACE, "key"),
                lambda: store.get(SPACE, f"absent-{next(numbers)}"),
                times=(2000, 500),
                rounds=rounds,
            )
            writes = alternate(
                lambda: store.set(SPACE, f"key-{next(numbers) % 1000}", VALUE),
                lambda: store.set(SPACE, "key", VALUE, durable=True),
                times=(500, 20),
                rounds=rounds,
            )
        finally:
            store.close()
    return [
        information("kv get of 64 bytes, cached", micro(reads.ours), unit="us"),
        information("kv get of an absent key, not cached", micro(reads.theirs), unit="us"),
        information(
            "kv put of 64 bytes, visible at once, durable soon", micro(writes.ours), unit="us"
        ),
        information(
            "kv put of 64 bytes, durable before it returns", micro(writes.theirs), unit="us"
        ),
    ]
