"""What `bind-unix` needs from the kernel: clients of a capsule's own socket, authenticated.

Trusted with nothing: who is let in is decided by the kernel before a capsule hears of it, and no
token crosses this border.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from typing import NoReturn, Protocol

from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.values import Principal


class LocalListener(Protocol):
    """The clients for one principal. A `WaitSource`: ready while one waits, and once it is over."""

    def take(self) -> socket.socket | None:
        """A client that was let in; None when there is none.

        Raises:
            OSError: EBADF: it is closed.
        """
        ...

    def close(self) -> None:
        """Give it up; again is no error."""
        ...

    def is_ready(self) -> bool:
        """As `WaitSource.is_ready`."""
        ...

    def add_waiter(self, event: threading.Event) -> None:
        """As `WaitSource.add_waiter`."""
        ...

    def remove_waiter(self, event: threading.Event) -> None:
        """As `WaitSource.remove_waiter`."""
        ...


class LocalSockets(Protocol):
    """The sockets of capsules in the home, one for each capsule that listens."""

    def listen(self, grants: CapsuleGrants, principal: Principal) -> LocalListener:
        """Listen for clients of a capsule that act for a principal.

        Args:
            grants: Of the capsule, which the gate has let listen.
            principal: For whom; another call for the same one shares its clients.

        Raises:
            OSError: The socket cannot be bound.
        """
        ...


class NoLocalSockets:
    """There is no home where a socket could be."""

    def listen(self, grants: CapsuleGrants, principal: Principal) -> NoReturn:
        """As `LocalSockets.listen`; always refuses."""
        del grants, principal
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
