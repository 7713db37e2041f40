"""Host functions of `astrid:kv@1.0.0`: the capsule's own key-value namespace.

Trusted with keeping namespaces apart: the namespace is made from the effective principal and the
capsule id alone, and no key a guest writes can leave it. Spec: host-abi 11.
"""

from __future__ import annotations

import re
import unicodedata
from contextlib import AbstractContextManager, nullcontext
from typing import Final, NamedTuple

from astrid_core.host.handlers import HostPackage, handles
from astrid_hookspecs.engines import WitError
from astrid_hookspecs.stores import KvStore
from astrid_hookspecs.values import CapsuleId, Principal

MAX_KEY_BYTES: Final = 256
MAX_VALUE_BYTES: Final = 1024 * 1024
MAX_LISTED_KEYS: Final = 1024
CLEARED_AT_ONCE: Final = 10_000
"""Keys that are removed before the end of the call is looked at; a twentieth of a second."""
RESERVED_PREFIX: Final = "__secret:"
"""Keys that earlier runtimes kept secrets under; refused, so that nothing ever stands there."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class KeyPageRecord(NamedTuple):
    """The record `key-page`."""

    keys: list[str]
    next_cursor: str | None


def kv_namespace(principal: Principal, capsule: CapsuleId) -> str:
    """Where the state of a capsule for a principal lives. Neither part can hold a colon."""
    return f"{principal}:capsule:{capsule}"


def check_key(key: str) -> str:
    """Check a key.

    Returns:
        The key, unchanged.

    Raises:
        WitError: `invalid-key`: empty, too long, not NFC, a control character, or reserved.
    """
    if not key:
        raise WitError("invalid-key")
    return check_prefix(key)


def check_prefix(prefix: str) -> str:
    """Check a key prefix or a cursor, which may be empty.

    Returns:
        The prefix, unchanged.

    Raises:
        WitError: `invalid-key`, as `check_key`.
    """
    # The character count bounds the byte count from below, so hostile text is not encoded first.
    if len(prefix) > MAX_KEY_BYTES or len(prefix.encode("utf-8", "replace")) > MAX_KEY_BYTES:
        raise WitError("invalid-key")
    if not prefix.isascii() and not unicodedata.is_normalized("NFC", prefix):
        raise WitError("invalid-key")
    if _CONTROL.search(prefix) or prefix.startswith(RESERVED_PREFIX):
        raise WitError("invalid-key")
    return prefix


class KvHost(HostPackage):
    """The functions of `astrid:kv/host@1.0.0`."""

    interface = "astrid:kv/host@1.0.0"
    denied_case = None

    @handles("kv-get")
    def get(self, key: str) -> bytes | None:
        """The value, or None."""
        return self._store.get(self._namespace, check_key(key))

    @handles("kv-set")
    def set(self, key: str, value: bytes) -> None:
        """Create or replace."""
        with self._writing(check_key(key), _check_value(value)) as quota:
            self._store.set(self._namespace, key, value, quota_bytes=quota)

    @handles("kv-delete")
    def delete(self, key: str) -> None:
        """Remove; an absent key is fine."""
        self._store.delete(self._namespace, check_key(key))

    @handles("kv-list-keys")
    def list_keys(self, prefix: str) -> list[str]:
        """All keys with the prefix, ascending; more than 1024 are an error, never a part."""
        page = self._store.keys(
            self._namespace, check_prefix(prefix), after=None, limit=MAX_LISTED_KEYS
        )
        if page.more:
            raise WitError("too-large")
        return page.keys

    @handles("kv-list-keys-page")
    def list_keys_page(self, prefix: str, cursor: str | None, limit: int) -> KeyPageRecord:
        """The keys after the cursor; the next cursor only while more follow."""
        size = min(limit or MAX_LISTED_KEYS, MAX_LISTED_KEYS)
        after = None if cursor is None else check_prefix(cursor)
        page = self._store.keys(self._namespace, check_prefix(prefix), after=after, limit=size)
        return KeyPageRecord(page.keys, page.keys[-1] if page.more else None)

    @handles("kv-clear-prefix")
    def clear_prefix(self, prefix: str) -> int:
        """Remove every key with the prefix; the empty one clears the namespace.

        A guest may have made millions of them: the end of the call or of the capsule ends it, and
        what is removed by then stays removed.
        """
        check_prefix(prefix)
        removed = 0
        while True:
            found = self._store.clear_prefix(self._namespace, prefix, limit=CLEARED_AT_ONCE)
            removed += found
            if found < CLEARED_AT_ONCE:
                return removed
            if self.instance.is_stopped():
                raise WitError("unknown", "the call ended before all keys were removed")

    @handles("kv-cas")
    def compare_and_swap(self, key: str, expected: bytes | None, new: bytes) -> None:
        """Replace the value if it is the expected one; None expects absence."""
        with self._writing(check_key(key), _check_value(new)) as quota:
            swapped = self._store.compare_and_swap(
                self._namespace, key, expected, new, quota_bytes=quota
            )
        if not swapped:
            raise WitError("cas-mismatch")

    @property
    def _store(self) -> KvStore:
        return self.instance.services.kv

    @property
    def _namespace(self) -> str:
        return kv_namespace(self.instance.principal, self.instance.context.id)

    def _writing(self, key: str, value: bytes) -> AbstractContextManager[int]:
        services, principal = self.instance.services, self.instance.principal
        if services.state is None:
            return nullcontext(services.profiles.quotas(principal).max_storage_bytes)
        growth = len(key.encode()) + len(value)
        return services.state.writing(principal, self._namespace, growth_bytes=growth)


def _check_value(value: bytes) -> bytes:
    if len(value) > MAX_VALUE_BYTES:
        raise WitError("too-large")
    return value
