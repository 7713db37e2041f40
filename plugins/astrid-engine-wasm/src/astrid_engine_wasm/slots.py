"""Which principal has which instance, and which idle one goes when there are too many.

Trusted with isolation: an instance is reached only through the slot of its principal, a slot is
used by one thread at a time, and an evicted slot is never used again.

Lock order: a slot's lock may be held when the table's lock is taken, never the other way round
(under the table's lock, slots are only tried). The engine-wide pool's lock is innermost.

Spec: DESIGN 4.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from astrid_engine_wasm.instance import Instance
from astrid_hookspecs.values import Principal

MAX_IDLE_PER_CAPSULE: Final = 64
MAX_IDLE_PER_ENGINE: Final = 1000
"""Each instance reserves address space and several mappings; the system's limit is 65,530."""


class Slot:
    """The place of one principal's instance.

    Attributes:
        lock: Held by whoever uses the instance.
        instance: None until the first call, and after a failure.
        is_dead: Evicted; look the principal up again.
        is_leaving: To be evicted when its call ends.
    """

    __slots__ = ("instance", "is_dead", "is_leaving", "lock", "principal", "table")

    def __init__(self, table: SlotTable, principal: Principal) -> None:
        self.table = table
        self.principal = principal
        self.lock = threading.Lock()
        self.instance: Instance | None = None
        self.is_dead = False
        self.is_leaving = False


class InstancePool:
    """Bounds the instances of all capsules together: the least recently used goes first."""

    def __init__(self, *, limit: int = MAX_IDLE_PER_ENGINE) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._slots: OrderedDict[Slot, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._slots)

    def touch(self, slot: Slot) -> list[Slot]:
        """Note a use; returns the slots that are too many, oldest first."""
        with self._lock:
            self._slots[slot] = None
            self._slots.move_to_end(slot)
            excess = len(self._slots) - self._limit
            if excess <= 0:
                return []
            return [old for old, _ in zip(self._slots, range(excess), strict=False)]

    def forget(self, slot: Slot) -> None:
        """The slot is gone."""
        with self._lock:
            self._slots.pop(slot, None)


class SlotTable:
    """The slots of one capsule. Every method may be called from any thread.

    Args:
        pool: Shared by the engine's capsules.
        limit: Slots of this capsule that may be idle.
    """

    def __init__(self, pool: InstancePool, *, limit: int = MAX_IDLE_PER_CAPSULE) -> None:
        self._pool = pool
        self._limit = limit
        self._lock = threading.Lock()
        self._slots: OrderedDict[Principal, Slot] = OrderedDict()
        self._evictions = 0

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def evictions(self) -> int:
        """How many slots went, for whatever reason, before the table was cleared."""
        return self._evictions

    def get(self, principal: Principal) -> Slot:
        """The slot of a principal; lock it, then check that it is not dead."""
        with self._lock:
            slot = self._slots.get(principal)
            if slot is None:
                slot = self._slots[principal] = Slot(self, principal)
            self._slots.move_to_end(principal)
            return slot

    def release(self, slot: Slot) -> None:
        """End a use: unlock the slot, and evict what has to go.

        An eviction that was asked for while the slot was busy happens here.
        """
        with self._lock:
            instance = self._remove(slot) if slot.is_leaving else None
            slot.lock.release()
            victims = self._excess()
        if instance is not None:
            instance.close()
        for victim in victims:
            victim.close()
        if not slot.is_dead:
            for old in self._pool.touch(slot):
                old.table.evict(old.principal, only=old)

    def evict(self, principal: Principal, *, only: Slot | None = None) -> None:
        """Close the instance of a principal, now or when its call ends.

        Args:
            principal: Whose.
            only: Do nothing when the principal has got another slot meanwhile; a busy slot is
                left alone in this case.
        """
        instance = None
        with self._lock:
            slot = self._slots.get(principal)
            if slot is None or (only is not None and slot is not only):
                return
            if slot.lock.acquire(blocking=False):
                instance = self._remove(slot)
                slot.lock.release()
            elif only is None:
                slot.is_leaving = True
        if instance is not None:
            instance.close()

    def measure(self) -> None:
        """Measure the memories of every instance that no call uses."""
        with self._lock:
            slots = list(self._slots.values())
        for slot in slots:
            if not slot.lock.acquire(blocking=False):
                continue
            try:
                if slot.instance is not None:
                    slot.instance.measure()
            finally:
                with self._lock:
                    leaving = self._remove(slot) if slot.is_leaving else None
                    slot.lock.release()
            if leaving is not None:
                leaving.close()

    def clear(self) -> None:
        """Close every idle instance; for a capsule that takes no more calls."""
        with self._lock:
            slots = list(self._slots.values())
        for slot in slots:
            self.evict(slot.principal)

    def _excess(self) -> list[Instance]:
        """Remove idle slots, oldest first, until the limit holds; the lock is held."""
        victims: list[Instance] = []
        for slot in list(self._slots.values())[: max(0, len(self._slots) - self._limit)]:
            if slot.lock.acquire(blocking=False):
                instance = self._remove(slot)
                slot.lock.release()
                if instance is not None:
                    victims.append(instance)
        return victims

    def _remove(self, slot: Slot) -> Instance | None:
        """Take a slot out; both locks are held."""
        slot.is_dead = True
        del self._slots[slot.principal]
        self._pool.forget(slot)
        self._evictions += 1
        instance, slot.instance = slot.instance, None
        return instance
