"""Opens mounts when a guest first needs them and keeps a bounded number of them open.

Trusted with isolation: a mount is looked up by the effective principal, which no argument of a
guest changes, and a principal without a home gets none. Evicting an overlay closes it; what is in
it stays on the disk. Spec: kernel-and-security 10.4.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple, Self

from astrid_core.host.mount import Mount
from astrid_hookspecs.errors import CapabilityDeniedError, ConfigError
from astrid_hookspecs.values import Principal

MAX_OPEN: Final = 1024
CAPACITY_VARIABLE: Final = "ASTRID_OVERLAY_REGISTRY_MAX_PRINCIPALS"
_DESCRIPTORS_PER_MOUNT: Final = 8


class MountKey(NamedTuple):
    """What is open: a scheme for a principal; for a life-cycle hook also its directory.

    A configured mount is shared by all principals and is kept without one.
    """

    scheme: str
    principal: Principal | None
    directory: Path | None = None


class OpenMount(NamedTuple):
    """A mount and how it is closed."""

    mount: Mount
    release: ExitStack


Opener = Callable[[MountKey], OpenMount]
"""Opens one mount; raises `CapabilityDeniedError` where the principal has none."""


class _Slot:
    """One open mount, its users, and the lock under which it is opened."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.opened: OpenMount | None = None
        self.users = 0
        self.last_used = 0.0


class Lease:
    """Implements `astrid_core.host.mount.MountLease`; the mount stays open until it is closed."""

    def __init__(self, mount: Mount, give_back: Callable[[], None]) -> None:
        self.mount = mount
        self._give_back: Callable[[], None] | None = give_back

    def close(self) -> None:
        """Closing twice is not an error."""
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class MountTable:
    """Implements `astrid_core.host.mount.Files`. Safe from any thread.

    Args:
        openers: By scheme. Schemes in `shared` are opened once for everybody.
        shared: Schemes of mounts that all principals share.
        capacity: Mounts that may be open at once, besides those in use.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        openers: Mapping[str, Opener],
        *,
        shared: frozenset[str] = frozenset(),
        capacity: int = MAX_OPEN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._openers = openers
        self._shared = shared
        self._capacity = capacity
        self._clock = clock
        self._lock = threading.Lock()
        self._slots: dict[MountKey, _Slot] = {}
        self._is_closed = False

    def schemes(self) -> frozenset[str]:
        """As `Files.schemes`."""
        return frozenset(self._openers)

    def lease(
        self, principal: Principal, scheme: str, *, install_directory: Path | None = None
    ) -> Lease:
        """As `Files.lease`."""
        opener = self._openers.get(scheme)
        if opener is None:
            raise CapabilityDeniedError(f"there is no mount {scheme!r}", rule="mount.unknown")
        who = None if scheme in self._shared else principal
        key = MountKey(scheme, who, install_directory)
        slot = self._enter(key)
        try:
            with slot.lock:
                opened = slot.opened or self._keep(slot, opener(key))
        except BaseException:
            self._leave(key, slot)
            raise
        return Lease(opened.mount, lambda: self._leave(key, slot))

    def open_count(self) -> int:
        """How many mounts are open now."""
        with self._lock:
            return sum(slot.opened is not None for slot in self._slots.values())

    def close(self) -> None:
        """Close every mount, also those in use; later leases are refused."""
        with self._lock, ExitStack() as closing:
            self._is_closed = True
            for slot in self._slots.values():
                if slot.opened is not None:
                    closing.callback(slot.opened.release.close)
            self._slots = {}

    def _enter(self, key: MountKey) -> _Slot:
        with self._lock:
            if self._is_closed:
                raise _closed()
            slot = self._slots.get(key)
            if slot is None:
                if len(self._slots) >= self._capacity:
                    self._evict_one()
                slot = self._slots[key] = _Slot()
            slot.users += 1
            return slot

    def _keep(self, slot: _Slot, opened: OpenMount) -> OpenMount:
        """A mount that was just opened; closed again when the table was closed meanwhile."""
        with self._lock:
            if not self._is_closed:
                slot.opened = opened
                return opened
        opened.release.close()
        raise _closed()

    def _leave(self, key: MountKey, slot: _Slot) -> None:
        with self._lock:
            slot.users -= 1
            slot.last_used = self._clock()
            if slot.opened is None and not slot.users and self._slots.get(key) is slot:
                del self._slots[key]

    def _evict_one(self) -> None:
        """Close the mount that nobody used for longest; none while all are in use.

        Runs under the table's lock, so that nobody opens a store while it is being closed.
        """
        idle = [(slot.last_used, key) for key, slot in self._slots.items() if not slot.users]
        if not idle:
            return
        _, victim = min(idle, key=lambda item: item[0])
        opened = self._slots.pop(victim).opened
        if opened is not None:
            opened.release.close()


def _closed() -> CapabilityDeniedError:
    return CapabilityDeniedError("the kernel is shutting down", rule="mount.closed")


def open_limit(environ: Mapping[str, str]) -> int:
    """How many mounts may stay open: the environment's word, within what the system allows.

    Raises:
        ConfigError: `config.value`: the variable is no whole number from 1.
    """
    text = environ.get(CAPACITY_VARIABLE, "")
    if text and not (text.isascii() and text.isdigit() and int(text[:9]) >= 1):
        raise ConfigError(
            f"{CAPACITY_VARIABLE} has to be a whole number from 1, not {text[:40]!r}",
            code="config.value",
        )
    wanted = int(text[:9]) if text else MAX_OPEN
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, soft // _DESCRIPTORS_PER_MOUNT))


def environment_limit() -> int:
    """As `open_limit`, for this process."""
    return open_limit(os.environ)
