"""The seal of a chain's last entry: 72 bytes that are written over with every batch.

Trusted with what counts before it is signed: entries that a killed kernel had acknowledged are told
from lines that somebody put there, because only the home's key can make their seal.
"""

from __future__ import annotations

import os
from typing import Final

from astrid_core.domain.audit_commit import LogKey
from astrid_core.domain.audit_entry import ChainId
from astrid_core.domain.audit_segment import Tip
from astrid_core.kernel.audit.places import AuditPlaces

_FLAGS: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_BYTES: Final = 128


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
        seal = self._key.seal(self._chain, seq=tip.seq, digest=tip.digest)
        if os.pwrite(self._descriptor, seal, 0) != len(seal):
            raise OSError("a seal was written in part")

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


def read_seal(places: AuditPlaces, chain: ChainId, *, key: LogKey) -> Tip | None:
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
    return None if found is None else Tip(*found)
