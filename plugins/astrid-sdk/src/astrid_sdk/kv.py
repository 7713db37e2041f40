"""The capsule's key-value store: bytes by key, private to (principal, capsule).

Keys have 1 to 256 bytes, values at most 1 MiB. Keys sort by their UTF-8 bytes.

Spec: astrid:kv@1.0.0.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from astrid_sdk.bindings import host_call
from astrid_sdk.encode import to_json_text
from astrid_sdk.errors import CasMismatchError

PAGE: Final = 512
_ATTEMPTS: Final = 64


def get(key: str) -> bytes | None:
    """The value of `key`, None when absent. An empty value is not absent.

    Raises:
        KvError: `InvalidKeyError` for a key that can not exist.
    """
    value: bytes | None = host_call("kv", "kv_get", key)
    return value


def set(key: str, value: bytes) -> None:  # noqa: A001 - read as kv.set
    """Replace the value of `key`.

    Raises:
        KvError: `InvalidKeyError`, `TooLargeError`, `QuotaError`.
    """
    host_call("kv", "kv_set", key, value)


def delete(key: str) -> None:
    """Remove `key`; nothing happens when it is absent.

    Raises:
        KvError: `InvalidKeyError`.
    """
    host_call("kv", "kv_delete", key)


def keys(prefix: str = "", *, page: int = PAGE) -> Iterator[str]:
    """Every key with `prefix`, ascending, fetched page by page while you iterate.

    A key written or deleted meanwhile may or may not appear.

    Raises:
        KvError: `InvalidKeyError` for a malformed prefix.
    """
    cursor: str | None = None
    while True:
        found = host_call("kv", "kv_list_keys_page", prefix, cursor, page)
        yield from found.keys
        cursor = found.next_cursor
        if cursor is None:
            return


def clear(prefix: str = "") -> int:
    """Remove every key with `prefix` (all keys when empty); the number removed.

    Raises:
        KvError: `InvalidKeyError` for a malformed prefix.
    """
    removed: int = host_call("kv", "kv_clear_prefix", prefix)
    return removed


def cas(key: str, *, expected: bytes | None, new: bytes) -> bool:
    """Store `new` if the current value is `expected` (None: absent); whether it was stored.

    Durable before it returns, and slower than `set` for it.

    Raises:
        KvError: `InvalidKeyError`, `TooLargeError`, `QuotaError`.
    """
    try:
        host_call("kv", "kv_cas", key, expected, new)
    except CasMismatchError:
        return False
    return True


def get_json(key: str, default: Any = None) -> Any:
    """The value of `key` read as JSON, `default` when absent.

    Raises:
        KvError: `InvalidKeyError`.
        ValueError: The stored bytes are not JSON.
    """
    raw = get(key)
    return default if raw is None else json.loads(raw)


def set_json(key: str, value: object) -> None:
    """Store `value` (JSON types, dataclasses, enums) as compact JSON.

    Raises:
        KvError: `InvalidKeyError`, `TooLargeError`, `QuotaError`.
        TypeError: `value` has no JSON form.
    """
    set(key, to_json_text(value).encode())


def update(key: str, change: Callable[[Any], object], *, default: Any = None) -> Any:
    """Change a JSON value atomically; returns the stored one.

    `change` gets the current value (`default` when absent) and returns the new one. It is called
    again when somebody else wrote in between, so it must have no other effect.

    Raises:
        KvError: `CasMismatchError` when others were faster 64 times in a row, and as `set`.
        ValueError: The stored bytes are not JSON.
    """
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(CasMismatchError):
            return _change_once(key, change, default)
    return _change_once(key, change, default)


def _change_once(key: str, change: Callable[[Any], object], default: Any) -> Any:
    raw = get(key)
    new = change(default if raw is None else json.loads(raw))
    host_call("kv", "kv_cas", key, raw, to_json_text(new).encode())
    return new
