"""The key-value store of the fake host.

Spec: host-abi 11.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Final, NamedTuple

from astrid_sdk.testing.cases import require

MAX_VALUE_BYTES: Final = 1024 * 1024
MAX_KEY_BYTES: Final = 256
MAX_PAGE: Final = 1024
_RESERVED_PREFIX: Final = "__secret:"


class KeyPage(NamedTuple):
    """As the generated record."""

    keys: list[str]
    next_cursor: str | None


class FakeKv:
    """Functions of `astrid:kv/host`, over a dict.

    Args:
        store: Gives the store of whoever acts now.
    """

    def __init__(self, store: Callable[[], dict[str, bytes]]) -> None:
        self._store = store

    def kv_get(self, key: str) -> bytes | None:
        """The value, None when absent."""
        return self._store().get(_checked(key))

    def kv_set(self, key: str, value: bytes) -> None:
        """Replace the value."""
        require(len(value) <= MAX_VALUE_BYTES, case="too-large")
        self._store()[_checked(key)] = bytes(value)

    def kv_delete(self, key: str) -> None:
        """Remove the key."""
        self._store().pop(_checked(key), None)

    def kv_list_keys(self, prefix: str) -> list[str]:
        """All keys with a prefix, if they are not too many."""
        found = self._matching(prefix)
        require(len(found) <= MAX_PAGE, case="too-large")
        return found

    def kv_list_keys_page(self, prefix: str, cursor: str | None, limit: int) -> KeyPage:
        """Keys with a prefix, after the cursor."""
        found = self._matching(prefix)
        if cursor is not None:
            found = [key for key in found if key.encode() > cursor.encode()]
        size = min(limit or MAX_PAGE, MAX_PAGE)
        return KeyPage(found[:size], found[size - 1] if len(found) > size else None)

    def kv_clear_prefix(self, prefix: str) -> int:
        """Remove all keys with a prefix."""
        found = self._matching(prefix)
        for key in found:
            del self._store()[key]
        return len(found)

    def kv_cas(self, key: str, expected: bytes | None, new: bytes) -> None:
        """Replace the value if it is the expected one."""
        require(self._store().get(_checked(key)) == expected, case="cas-mismatch")
        self.kv_set(key, new)

    def _matching(self, prefix: str) -> list[str]:
        require(_is_text(prefix), case="invalid-key")
        found = (key for key in self._store() if key.startswith(prefix))
        return sorted(found, key=str.encode)


def _checked(key: str) -> str:
    valid = bool(key) and _is_text(key) and not key.startswith(_RESERVED_PREFIX)
    require(valid, case="invalid-key")
    return key


def _is_text(key: str) -> bool:
    is_plain = not any(unicodedata.category(char) == "Cc" for char in key)
    return is_plain and unicodedata.is_normalized("NFC", key) and len(key.encode()) <= MAX_KEY_BYTES
