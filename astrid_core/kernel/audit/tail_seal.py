"""The seal of a chain's last entry: 88 bytes that are written over with every batch.

Trusted with what counts before it is signed: entries that a killed kernel had acknowledged are told
from lines that somebody put there, because only the home's key can make their seal. It is written
after the entry that it names, so within one boot of the machine it is never ahead of the log by
itself. What a power failure keeps of two files comes in any order.
"""

from __future__ import annotations

import contextlib
import functools
import os
import uuid
from pathlib import Path
from typing import Final

from astrid_core.domain.audit_commit import NO_BOOT, LogKey
from astrid_core.domain.audit_entry import ChainId
from astrid_core.domain.audit_segment import Sealed, Tip
from astrid_core.kernel.audit.places import AuditPlaces

_FLAGS: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_BYTES: Final = 128
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


class TailSeal:
    """The open seal of one chain. One thread at a time.

    Args:
        places: Where it lies; the chain's directory exists.
        chain: Whose.
        key: Seals.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, places: AuditPlaces, chain: ChainId, *, key: LogKey) -> None:
        self._chain = chain.to_bytes()
        self._key = key
        self._descriptor = os.open(places.seal(chain), os.O_WRONLY | os.O_CREAT | _FLAGS, 0o600)

    def write(self, tip: Tip) -> None:
        """Seal what is in the segment up to `tip`.

        Raises:
            OSError: It is not sealed; what was before may not be either, until it is signed.
        """
        seal = self._key.seal(self._chain, seq=tip.seq, digest=tip.digest, boot=boot_mark())
        try:
            is_whole = os.pwrite(self._descriptor, seal, 0) == len(seal)
        except OSError:
            self._void()
            raise
        if not is_whole:
            self._void()
            raise OSError("a seal was written in part")

    def _void(self) -> None:
        """Let it say nothing: its entry is taken back, and must not look as if somebody took it."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


def read_seal(places: AuditPlaces, chain: ChainId, *, key: LogKey) -> Sealed | None:
    """How far the seal of a chain says that it goes; None without one that the key made."""
    try:
        descriptor = os.open(places.seal(chain), os.O_RDONLY | _FLAGS)
    except OSError:
        return None
    try:
        found = key.opened(os.read(descriptor, _MAX_BYTES), chain=chain.to_bytes())
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if found is None:
        return None
    seq, digest, boot = found
    return Sealed(Tip(seq, digest), boot == boot_mark() != NO_BOOT)


@functools.cache
def boot_mark() -> bytes:
    """Which boot of the machine this is, 16 bytes; `NO_BOOT` where the system does not say."""
    try:
        return uuid.UUID(_BOOT.read_text(encoding="ascii").strip()).bytes
    except (OSError, ValueError):
        return NO_BOOT
