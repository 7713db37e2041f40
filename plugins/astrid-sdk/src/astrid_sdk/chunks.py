"""Cut bytes into pieces that can cross the component boundary.

One call can carry about 2.6 MB of `list<u8>` from a capsule to its host; a longer list traps.
"""

from __future__ import annotations

from collections.abc import Iterator

from astrid_sdk.bindings import MAX_LIST_BYTES


def split_bytes(data: bytes, *, limit: int = MAX_LIST_BYTES) -> Iterator[bytes]:
    """Pieces of `data` in order, each at most `limit` bytes; none for empty data.

    Raises:
        ValueError: `limit` is not between 1 and what one call can carry.

    Spec: host-abi 22.2.
    """
    if not 1 <= limit <= MAX_LIST_BYTES:
        raise ValueError(f"limit must be between 1 and {MAX_LIST_BYTES}")
    for start in range(0, len(data), limit):
        yield data[start : start + limit]
