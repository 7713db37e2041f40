"""The sockets of capsules that listen: one each, in `run/net/` of the home, while it listens.

Trusted with whose clients are whose: a client acts for one principal, and only the capsule's
instances for that principal get it. A capsule chooses no path; the name is its own id, which no
other capsule has, and which cannot lead out of the directory.
Spec: host-abi 12.1, 12.2; kernel-and-security 3.1, 3.2.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import stat
import threading
from pathlib import Path
from typing import Final

from loguru import logger

from astrid_core.domain.handshake import Hello, Verdict
from astrid_core.kernel.home import claim_directory
from astrid_core.kernel.local_queue import ClientQueue, QueueListener
from astrid_core.kernel.peer import own_uid, peer_uid
from astrid_core.kernel.reactor import Reactor
from astrid_core.kernel.reception import Reception, UidOf
from astrid_core.kernel.session_token import SessionToken
from astrid_core.kernel.socket_file import listen_at
from astrid_core.security.gate import Gate
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.errors import CapabilityDeniedError, ConfigError, QuotaExceededError
from astrid_hookspecs.values import CapsuleId, Principal

SUFFIX: Final = ".sock"


class LocalSockets:
    """Implements `astrid_core.host.local_socket.LocalSockets`. Safe from any thread.

    Args:
        directory: For the sockets; made when the first capsule listens. What is left there of a
            kernel that was killed is removed: whoever makes this holds the lock of the home.
        session: What clients have to know.
        gate: Decides about them.
        uid_of: Who is at the other end.
    """

    def __init__(
        self, directory: Path, *, session: SessionToken, gate: Gate, uid_of: UidOf = peer_uid
    ) -> None:
        self._directory = directory
        self.session = session
        self._gate = gate
        self._uid_of = uid_of
        self._lock = threading.Lock()
        self._doors: dict[CapsuleId, _Door] = {}
        self._reactor: Reactor | None = None
        self._is_closed = False
        self._sweep()

    def listen(self, grants: CapsuleGrants, principal: Principal) -> QueueListener:
        """As `host.local_socket.LocalSockets.listen`."""
        with self._lock:
            if self._is_closed:
                raise OSError(errno.EBADF, "the kernel is closing")
            door = self._doors.get(grants.capsule)
            if door is None:
                door = self._doors[grants.capsule] = self._opened(grants, principal)
            queue = door.queues.setdefault(principal, ClientQueue())
            queue.shares += 1
        return QueueListener(queue, lambda: self._give_back(door, principal))

    def close(self) -> None:
        """End all of them; again is no error."""
        with self._lock:
            self._is_closed = True
            for door in [*self._doors.values()]:
                self._shut(door)
            reactor, self._reactor = self._reactor, None
        if reactor is not None:
            reactor.stop()
            with contextlib.suppress(OSError):  # something else is there
                self._directory.rmdir()

    def _opened(self, grants: CapsuleGrants, principal: Principal) -> _Door:
        path = self._directory / f"{grants.capsule}{SUFFIX}"
        try:
            claim_directory(self._directory)
            token = self.session.value()
            reactor = self._reactor = self._reactor or Reactor("local sockets")
            listener = listen_at(path)
        except (OSError, ConfigError) as error:
            logger.warning("capsule {} cannot listen at {}: {}", grants.capsule, path, error)
            if isinstance(error, OSError):
                raise
            raise OSError(errno.EACCES, "the directory cannot be used") from error
        door = _Door(grants, path, token=token, gate=self._gate)
        door.reception = Reception(listener, door, reactor=reactor, uid_of=self._uid_of)
        door.queues[principal] = ClientQueue()  # the first client can come at once
        try:
            reactor.submit(door.reception.open)
        except QuotaExceededError as error:
            listener.close()
            path.unlink(missing_ok=True)
            raise OSError(errno.EAGAIN, "the system has no thread left") from error
        return door

    def _give_back(self, door: _Door, principal: Principal) -> None:
        with self._lock:
            queue = door.queues[principal]
            queue.shares -= 1
            if not queue.shares:
                del door.queues[principal]
                queue.close()
            if not door.queues:
                self._shut(door)

    def _shut(self, door: _Door) -> None:
        if self._doors.pop(door.capsule, None) is not door:
            return  # the kernel closed it already
        door.path.unlink(missing_ok=True)
        for queue in door.queues.values():
            queue.close()
        if self._reactor is not None:
            self._reactor.submit(door.reception.close)

    def _sweep(self) -> None:
        if self._directory.is_symlink():  # nobody listens there, see `claim_directory`
            return
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for path in sorted(self._directory.iterdir()):
                if path.suffix == SUFFIX and stat.S_ISSOCK(path.lstat().st_mode):
                    path.unlink()
            with contextlib.suppress(OSError):  # something else is there
                self._directory.rmdir()


class _Door:
    """The socket of one capsule. Implements `astrid_core.kernel.reception.House`.

    Args:
        grants: Of the capsule.
        path: Of the socket.
        token: Of this boot.
        gate: Decides about clients.
    """

    reception: Reception

    def __init__(self, grants: CapsuleGrants, path: Path, *, token: bytes, gate: Gate) -> None:
        self.capsule = grants.capsule
        self.path = path
        self.queues: dict[Principal, ClientQueue] = {}
        self._grants = grants
        self._token = token
        self._gate = gate

    def check_peer(self, uid: int | None) -> None:
        """As `House.check_peer`."""
        self._gate.check_local_peer(self._grants, peer_uid=uid, own_uid=own_uid())

    def check_hello(self, hello: Hello) -> Verdict:
        """As `House.check_hello`; nobody is let in who would have nowhere to wait."""
        queues = dict(self.queues)
        try:
            principal = self._gate.check_local_hello(
                self._grants, hello, token=self._token, listening=queues
            )
        except CapabilityDeniedError as error:
            return Verdict(None, error.message)
        if not queues[principal].has_room():
            self._gate.report_excess(self._grants, principal, "net.accept", rule="net.waiting")
            return Verdict(None, "too many clients wait for the capsule")
        return Verdict(principal)

    def report_silence(self) -> None:
        """As `House.report_silence`."""
        with contextlib.suppress(CapabilityDeniedError):
            self._gate.check_local_hello(self._grants, None, token=self._token, listening=())

    def take_in(self, sock: socket.socket, principal: Principal) -> None:
        """As `House.take_in`."""
        queue = self.queues.get(principal)
        if queue is None:  # the capsule has just stopped listening
            sock.close()
        else:
            queue.put(sock)
