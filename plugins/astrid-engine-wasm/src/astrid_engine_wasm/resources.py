"""Host objects that one guest instance holds handles to.

Trusted with the link between a handle and its object: a representation that is not in the table, or
that belongs to another resource type, never reaches a handler. wasmtime already refuses handle
numbers that a guest invents; the generation counter makes an error of ours a miss instead of the
wrong object.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Final

from astrid_hookspecs.engines import HostResource, HostTrap

_log = logging.getLogger(__name__)

MAX_HANDLES: Final = 4096
"""Handles of one instance. Spec: host-abi 2.5."""
_INDEX_BITS: Final = 12
_GENERATIONS: Final = 1 << (32 - _INDEX_BITS)


class HandleQuotaError(Exception):
    """The instance holds as many handles as it may."""


class InertResource:
    """Stands for an object that is gone or never came to be; every call on it finds it closed."""

    def drop(self) -> None:
        """There is nothing to release."""


INERT: Final = InertResource()


class HandleTable:
    """Representation to object, for one instance and by one thread at a time."""

    def __init__(self, *, limit: int = MAX_HANDLES) -> None:
        self._limit = min(limit, MAX_HANDLES)
        self._objects: dict[int, tuple[int, HostResource]] = {}
        self._generations: list[int] = []
        self._free: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._objects)

    def add(self, type_number: int, resource: HostResource) -> int:
        """Register an object that the guest will own; returns its 32-bit representation.

        Raises:
            HandleQuotaError: The table is full; the object was not taken over.
        """
        if self._free and len(self._generations) >= self._limit:
            index = self._free.popleft()
        elif len(self._generations) < self._limit:
            index = len(self._generations)
            self._generations.append(0)
        else:
            raise HandleQuotaError(f"the instance holds {self._limit} handles")
        representation = self._generations[index] << _INDEX_BITS | index
        self._objects[representation] = (type_number, resource)
        return representation

    def get(self, type_number: int, representation: int) -> HostResource:
        """The object behind a borrowed handle; `INERT` when there is none of this type."""
        found = self._objects.get(representation)
        if found is None or found[0] != type_number:
            return INERT
        return found[1]

    def take(self, type_number: int, representation: int) -> HostResource:
        """Give the object away with its ownership; `INERT` when there is none of this type."""
        found = self._objects.get(representation)
        if found is None or found[0] != type_number:
            return INERT
        self._remove(representation)
        return found[1]

    def drop(self, representation: int) -> None:
        """The guest dropped its handle: release the object. A second time does nothing.

        Raises:
            HostTrap: The object demands it. Whatever else it raises is logged.
        """
        found = self._remove(representation)
        if found is not None:
            try:
                found.drop()
            except HostTrap:
                raise
            except Exception as error:  # noqa: BLE001 - part of the host-call boundary
                _log_drop(found, error)

    def close(self) -> None:
        """Release everything that is left, newest first, so that children go before parents."""
        while self._objects:
            found = self._remove(next(reversed(self._objects)))
            if found is not None:
                release(found)

    def _remove(self, representation: int) -> HostResource | None:
        found = self._objects.pop(representation, None)
        if found is None:
            return None
        index = representation & (1 << _INDEX_BITS) - 1
        self._generations[index] = (self._generations[index] + 1) % _GENERATIONS
        self._free.append(index)
        return found[1]


def release(resource: HostResource) -> None:
    """Drop an object; what it raises is logged, because nobody could act on it."""
    try:
        resource.drop()
    except Exception as error:  # noqa: BLE001 - part of the host-call boundary
        _log_drop(resource, error)


def _log_drop(resource: HostResource, error: Exception) -> None:
    _log.error("dropping a %s failed", type(resource).__name__, exc_info=error)


_NUMBERS: dict[str, int] = {}
_NUMBERS_LOCK = threading.Lock()


def type_number(resource: str) -> int:
    """The process-wide number of a resource type, `interface/name`; the same for every linker."""
    with _NUMBERS_LOCK:
        return _NUMBERS.setdefault(resource, len(_NUMBERS) + 1)
