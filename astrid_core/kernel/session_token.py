"""The token of this boot, which clients of local sockets have to know.

Trusted with who sees it: it is in memory, and in one file that only this user can read. No capsule
is told it, also not one that listens. Spec: kernel-and-security 3.2, 3.4.
"""

from __future__ import annotations

import secrets
import threading
from pathlib import Path

from astrid_core.domain.handshake import TOKEN_BYTES
from astrid_core.kernel.durable import write_atomic


class SessionToken:
    """Made when it is first needed. Safe from any thread.

    Args:
        path: Where clients read it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._token: bytes | None = None

    def value(self) -> bytes:
        """The token's 32 bytes; clients can read it on return.

        Raises:
            OSError: It could not be written.
        """
        with self._lock:
            if self._token is None:
                token = secrets.token_bytes(TOKEN_BYTES)
                write_atomic(self._path, token.hex().encode())
                self._token = token
            return self._token

    def remove(self) -> None:
        """Take the file away, if one was made here; again is no error."""
        with self._lock:
            if self._token is not None:
                self._path.unlink(missing_ok=True)
