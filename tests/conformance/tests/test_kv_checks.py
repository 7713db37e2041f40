"""Each check of key-value stores rejects a store that breaks just that promise."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from astrid_conformance import checks as _fill_the_lists  # noqa: F401
from astrid_conformance.check import Check, Outcome, run_check
from astrid_conformance.checks.kv_subject import KV_STORE, KvSubject, kv_subject
from astrid_conformance.fakes import DictKvStore
from astrid_conformance.suites import KvStoreConformance
from astrid_core.builtin.plugin import _make_kv_store
from astrid_hookspecs.errors import QuotaExceededError
from astrid_hookspecs.stores import KeyPage, KvStore, KvWrite

NOT_DURABLE = {
    "closing-keeps-everything",
    "another-process-reads-it",
    "durable-writes-survive-a-crash",
    "flushed-writes-survive-a-crash",
}


class AbsentIsEmpty(DictKvStore):
    def get(self, namespace: str, key: str) -> bytes | None:
        return super().get(namespace, key) or b""


class EmptyIsAbsent(DictKvStore):
    def get(self, namespace: str, key: str) -> bytes | None:
        return super().get(namespace, key) or None


class CutsAtNul(DictKvStore):
    def get(self, namespace: str, key: str) -> bytes | None:
        value = super().get(namespace, key)
        return None if value is None else value.split(b"\0")[0]


class FirstValueStays(DictKvStore):
    def set(self, namespace: str, key: str, value: bytes, **options: Any) -> None:
        if self.get(namespace, key) is None:
            super().set(namespace, key, value, **options)


class DeleteAlwaysWorks(DictKvStore):
    def delete(self, namespace: str, key: str) -> bool:
        super().delete(namespace, key)
        return True


class JoinsNames(DictKvStore):
    def get(self, namespace: str, key: str) -> bytes | None:
        return super().get("all", f"{namespace}:{key}")

    def set(self, namespace: str, key: str, value: bytes, **options: Any) -> None:
        super().set("all", f"{namespace}:{key}", value, **options)


class OrderOfWriting(DictKvStore):
    def keys(self, namespace: str, prefix: str, *, after: str | None, limit: int) -> KeyPage:
        del after
        found = [key for key in self._spaces.get(namespace, {}) if key.startswith(prefix)]
        return KeyPage(found[:limit], len(found) > limit)


class AfterIsInclusive(DictKvStore):
    def keys(self, namespace: str, prefix: str, *, after: str | None, limit: int) -> KeyPage:
        page = super().keys(namespace, prefix, after=after, limit=limit)
        present = after is not None and self.get(namespace, after) is not None
        keys = [after, *page.keys] if present and after is not None else page.keys
        return KeyPage(keys[:limit], page.more or len(keys) > limit)


class PrefixIsAPattern(DictKvStore):
    def keys(self, namespace: str, prefix: str, *, after: str | None, limit: int) -> KeyPage:
        literal = prefix.split("%", maxsplit=1)[0].split("_", maxsplit=1)[0]
        return super().keys(namespace, literal, after=after, limit=limit)


class ClearsTooMuch(DictKvStore):
    def clear_prefix(self, namespace: str, prefix: str, *, limit: int | None = None) -> int:
        return super().clear_prefix(namespace, prefix.rstrip("/"), limit=limit)


class ClearsInPages(DictKvStore):
    def clear_prefix(self, namespace: str, prefix: str, *, limit: int | None = None) -> int:
        pages = None if limit is None else -(-limit // 1000) * 1000
        return super().clear_prefix(namespace, prefix, limit=pages)


class NormalisesKeys(DictKvStore):
    def get(self, namespace: str, key: str) -> bytes | None:
        return super().get(namespace, key[:255])

    def set(self, namespace: str, key: str, value: bytes, **options: Any) -> None:
        super().set(namespace, key[:255].replace("e\u0301", "é"), value, **options)


class SwapsAnyway(DictKvStore):
    def compare_and_swap(
        self, namespace: str, key: str, expected: bytes | None, new: bytes, **options: Any
    ) -> bool:
        del expected
        self.set(namespace, key, new, **options)
        return True


class SwapsInTwoSteps(DictKvStore):
    def compare_and_swap(
        self, namespace: str, key: str, expected: bytes | None, new: bytes, **options: Any
    ) -> bool:
        if self.get(namespace, key) != expected:
            return False
        time.sleep(0.0002)
        self.set(namespace, key, new, **options)
        return True


class AppliesOneByOne(DictKvStore):
    def apply(
        self, namespace: str, writes: Sequence[KvWrite], *, quota_bytes: int | None = None
    ) -> None:
        for write in writes:
            super().apply(namespace, [write], quota_bytes=quota_bytes)
            time.sleep(0.0002)


class WritesLate(DictKvStore):
    _late: tuple[str, str, bytes] | None = None

    def set(self, namespace: str, key: str, value: bytes, **options: Any) -> None:
        if self._late is not None:
            super().set(*self._late, **options)
        self._late = (namespace, key, value)


class StaysOpen(DictKvStore):
    def close(self) -> None:
        pass


class WritesForEveryone(DictKvStore):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        (directory / "data").touch()
        (directory / "data").chmod(0o644)


class CountsCharacters(DictKvStore):
    def size_bytes(self, namespace: str) -> int:
        return sum(len(k) + len(v) for k, v in self._spaces.get(namespace, {}).items())


class CountsValuesOnly(DictKvStore):
    def set(
        self,
        namespace: str,
        key: str,
        value: bytes,
        *,
        quota_bytes: int | None = None,
        durable: bool = False,
    ) -> None:
        generous = None if quota_bytes is None else quota_bytes + len(key)
        super().set(namespace, key, value, quota_bytes=generous, durable=durable)


class SwapsWithoutQuota(DictKvStore):
    def compare_and_swap(
        self, namespace: str, key: str, expected: bytes | None, new: bytes, **_: Any
    ) -> bool:
        return super().compare_and_swap(namespace, key, expected, new)


class RefusesToShrink(DictKvStore):
    def set(self, namespace: str, key: str, value: bytes, **options: Any) -> None:
        super().set(namespace, key, value, **options)
        quota = options.get("quota_bytes")
        if quota is not None and self.size_bytes(namespace) > quota:
            raise QuotaExceededError("still too much", rule="storage quota")


class ChecksQuotaTooEarly(DictKvStore):
    def set(
        self,
        namespace: str,
        key: str,
        value: bytes,
        *,
        quota_bytes: int | None = None,
        durable: bool = False,
    ) -> None:
        if quota_bytes is not None:
            if self.size_bytes(namespace) + len(key) + len(value) > quota_bytes:
                raise QuotaExceededError("too much", rule="storage quota")
            time.sleep(0.001)
        super().set(namespace, key, value, durable=durable)


class ShowsValues(DictKvStore):
    def __repr__(self) -> str:
        return f"<store {self._spaces}>"


BROKEN: dict[str, Callable[[Path], KvStore]] = {
    "absent-is-none": AbsentIsEmpty,
    "empty-value-is-a-value": EmptyIsAbsent,
    "values-come-back-unchanged": CutsAtNul,
    "set-replaces": FirstValueStays,
    "delete-tells-whether-it-existed": DeleteAlwaysWorks,
    "namespaces-never-meet": JoinsNames,
    "keys-are-in-byte-order": OrderOfWriting,
    "pages-are-exact": AfterIsInclusive,
    "prefixes-are-literal": PrefixIsAPattern,
    "clear-prefix-counts-and-spares-the-rest": ClearsTooMuch,
    "clear-prefix-keeps-to-its-limit": ClearsInPages,
    "hostile-text-is-only-text": NormalisesKeys,
    "compare-and-swap-compares": SwapsAnyway,
    "compare-and-swap-loses-no-update": SwapsInTwoSteps,
    "compare-and-swap-and-set-exclude-each-other": SwapsInTwoSteps,
    "apply-is-all-at-once": AppliesOneByOne,
    "writes-are-visible-to-other-threads-at-once": WritesLate,
    "closing-ends-everything": StaysOpen,
    "closing-keeps-everything": DictKvStore,
    "another-process-reads-it": DictKvStore,
    "durable-writes-survive-a-crash": DictKvStore,
    "flushed-writes-survive-a-crash": DictKvStore,
    "files-are-private": WritesForEveryone,
    "size-is-keys-plus-values": CountsCharacters,
    "quota-is-exact": CountsValuesOnly,
    "quota-holds-for-every-write": SwapsWithoutQuota,
    "shrinking-always-passes": RefusesToShrink,
    "quota-holds-against-races": ChecksQuotaTooEarly,
    "refusals-do-not-repeat-values": ShowsValues,
}


def outcome(check: Check[KvSubject], factory: Callable[[Path], KvStore], path: Path) -> Outcome:
    return run_check(check, lambda: kv_subject(factory, path)).outcome


def test_every_check_has_a_broken_store() -> None:
    assert {check.name for check in KV_STORE} == set(BROKEN)


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_the_check_rejects_a_store_that_breaks_it(name: str, tmp_path: Path) -> None:
    assert outcome(KV_STORE.named(name), BROKEN[name], tmp_path) is Outcome.FAILED


@pytest.mark.parametrize("name", sorted(set(BROKEN) - NOT_DURABLE))
def test_a_correct_store_passes(name: str, tmp_path: Path) -> None:
    assert outcome(KV_STORE.named(name), DictKvStore, tmp_path) is Outcome.PASSED


def test_a_factory_that_no_other_process_can_import_is_named(tmp_path: Path) -> None:
    result = run_check(
        KV_STORE.named("another-process-reads-it"),
        lambda: kv_subject(lambda path: DictKvStore(path), tmp_path),  # noqa: PLW0108
    )
    assert result.outcome is Outcome.FAILED
    assert "importable" in result.detail


class TestSqliteStore(KvStoreConformance):
    make = staticmethod(_make_kv_store)
