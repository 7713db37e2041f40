"""Where allowances are kept, found and used up.

Trusted with four promises: an allowance that ends with the session is never on disk, one that does
not is durable before anybody is told of it, no use is counted twice or not at all, whoever asks at
the same moment, and what holds for good counts only as it was signed.
Spec: kernel-and-security 7.3, 16 D-43, D-45.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from loguru import logger

from astrid_core.domain.action import Action
from astrid_core.domain.allowance import (
    Allowance,
    AllowanceError,
    check_allowance,
    covering,
    format_allowance,
    parse_allowance,
)
from astrid_core.kernel.warrants import Warrants
from astrid_hookspecs.stores import KvStore, KvWrite
from astrid_hookspecs.values import Principal

ALLOWANCES: Final = "caps:allowances"
MAX_PER_PRINCIPAL: Final = 1000
_PAGE: Final = 500


class AllowanceStore:
    """The allowances of one home. Safe from any thread.

    Args:
        kv: The kernel's store.
        warrants: Signs what holds for good; None keeps it unsigned.
        now: Unix seconds.
    """

    def __init__(
        self,
        kv: KvStore,
        *,
        warrants: Warrants | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._kv = kv
        self._warrants = warrants
        self._now = now
        self._lock = threading.Lock()
        self._session: dict[uuid.UUID, Allowance] = {}

    def add(
        self, allowance: Allowance, *, by: Principal | None = None, also: Sequence[KvWrite] = ()
    ) -> None:
        """Keep an allowance; durable on return unless it ends with the session.

        Args:
            allowance: Replaces one with the same id.
            by: Who gives it, for the record of its token; None for its principal.
            also: Other changes of the namespace `ALLOWANCES`, made in the same step or not at all.

        Raises:
            AllowanceError: It makes no sense, or its principal has too many.
            PatternError: Its pattern is malformed.
            AuditError, StoreError: It could not be kept.
        """
        check_allowance(allowance)
        with self._lock:
            if len(list(self._of(allowance.principal))) >= MAX_PER_PRINCIPAL:
                raise AllowanceError(
                    f"{allowance.principal!r} has {MAX_PER_PRINCIPAL} allowances",
                    code="allowance.too-many",
                    hint="remove those that are no longer needed",
                )
            if self._warrants is not None and allowance.is_for_good:
                self._warrants.issue(allowance, by=by or Principal(allowance.principal))
            writes = list(also)
            if not allowance.session_only:
                writes.append(KvWrite(_key(allowance), format_allowance(allowance)))
            if writes:
                self._kv.apply(ALLOWANCES, writes)
            if allowance.session_only:
                self._session[allowance.id] = allowance

    def use(self, action: Action, *, principal: Principal, root: str | None) -> Allowance | None:
        """Find what covers an action and take one use off it; the oldest one is used first.

        Args:
            action: What is about to happen.
            principal: For whom.
            root: The workspace, or None.

        Returns:
            The allowance as it is after this use; None when nothing covers the action.

        Raises:
            StoreError: The use could not be counted; it did not happen.
        """
        with self._lock:
            found = self._covering(action, principal=principal, root=root)
            if found is None:
                return None
            left = found.used()
            if left != found:
                self._replace(left)
            return left

    def find(self, action: Action, *, principal: Principal, root: str | None) -> Allowance | None:
        """What `use` would use, unused."""
        with self._lock:
            return self._covering(action, principal=principal, root=root)

    def all(self, principal: Principal) -> list[Allowance]:
        """The allowances of a principal that can still be used, oldest first."""
        with self._lock:
            return self._live(principal)

    def remove(self, allowance_id: uuid.UUID, *, principal: Principal) -> None:
        """Take an allowance back, durably.

        Raises:
            AllowanceError: `allowance.not-found`: the principal has none with this id.
            StoreError: It is still there.
        """
        with self._lock:
            found = [one for one in self._of(principal) if one.id == allowance_id]
            if not found:
                raise AllowanceError(
                    f"{principal!r} has no allowance {allowance_id}", code="allowance.not-found"
                )
            self._drop(found)

    def clear(self, principal: Principal, *, session_only: bool = False) -> int:
        """Take all allowances of a principal back; returns how many there were.

        Args:
            principal: Whose.
            session_only: Only those that end with the session.
        """
        with self._lock:
            found = [one for one in self._of(principal) if one.session_only or not session_only]
            self._drop(found)
            return len(found)

    def _covering(
        self, action: Action, *, principal: Principal, root: str | None
    ) -> Allowance | None:
        live = self._live(principal)
        return covering(live, action, principal=principal, root=root, now=self._now())

    def _live(self, principal: Principal) -> list[Allowance]:
        """What can be used; what no longer can goes."""
        now = self._now()
        found = list(self._of(principal))
        self._drop([one for one in found if not one.is_live(now=now)])
        live = [one for one in found if one.is_live(now=now) and self._is_signed(one)]
        return sorted(live, key=lambda one: (one.created_at, str(one.id)))

    def _of(self, principal: str) -> Iterator[Allowance]:
        yield from [one for one in self._session.values() if one.principal == principal]
        prefix, after, more = f"{principal}/", None, True
        while more:
            keys, more = self._kv.keys(ALLOWANCES, prefix, after=after, limit=_PAGE)
            for after in keys:
                stored = self._stored(after)
                if stored is not None and _key(stored) == after:
                    yield stored

    def _stored(self, key: str) -> Allowance | None:
        data = self._kv.get(ALLOWANCES, key)
        try:
            return None if data is None else parse_allowance(data)
        except AllowanceError as error:  # a damaged one allows nothing
            logger.error("allowance {}: {}", key, error)
            return None

    def _replace(self, allowance: Allowance) -> None:
        if allowance.uses_remaining == 0:
            self._drop([allowance])
        elif allowance.session_only:
            self._session[allowance.id] = allowance
        else:
            self._kv.apply(ALLOWANCES, [KvWrite(_key(allowance), format_allowance(allowance))])

    def _is_signed(self, allowance: Allowance) -> bool:
        if self._warrants is None or not allowance.is_for_good:
            return True
        return self._warrants.covers(allowance)

    def _drop(self, allowances: Sequence[Allowance]) -> None:
        for one in allowances:
            if self._warrants is not None and one.is_for_good:
                self._warrants.revoke(one)
        writes = [KvWrite(_key(one), None) for one in allowances if not one.session_only]
        if writes:
            self._kv.apply(ALLOWANCES, writes)
        for one in allowances:
            self._session.pop(one.id, None)


def _key(allowance: Allowance) -> str:
    return f"{allowance.principal}/{allowance.id}"
