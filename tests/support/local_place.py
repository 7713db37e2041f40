"""A home's `run/` with the local sockets of capsules in it, and clients of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from astrid_core.kernel.local_queue import QueueListener
from astrid_core.kernel.local_sockets import LocalSockets
from astrid_core.kernel.session_token import SessionToken
from astrid_core.security.gate import Gate
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.events import DecisionEvent
from astrid_hookspecs.values import CapsuleId, Principal
from tests.support.daemon import Client

WAIT_S = 10.0


class LocalPlace:
    """What a kernel has in a directory.

    Args:
        run: The directory.
        decisions: Gets what is refused.

    Attributes:
        uid: Of the next clients, as the system says.
    """

    def __init__(self, run: Path, decisions: list[DecisionEvent]) -> None:
        self.directory = run / "net"
        self.token = run / "system.token"
        self.session = SessionToken(self.token)
        self.decisions = decisions
        self.uid: int | None = os.geteuid()
        self.sockets = LocalSockets(
            self.directory,
            session=self.session,
            gate=Gate(votes=None, decided=decisions.append),
            uid_of=lambda _sock: self.uid,
        )

    def listen(self, capsule: str = "t", principal: str = "alice") -> QueueListener:
        """As a capsule that the gate has let listen."""
        grants = CapsuleGrants(CapsuleId(capsule), net_bind=True)
        return self.sockets.listen(grants, Principal(principal))

    def path(self, capsule: str = "t") -> Path:
        """Of the socket."""
        return self.directory / f"{capsule}.sock"

    def stranger(self, capsule: str = "t") -> Client:
        """A client that has said nothing yet."""
        return Client(self.path(capsule), timeout_s=WAIT_S)

    def client(self, *, principal: str | None = "alice", capsule: str = "t") -> Client:
        """One that was let in."""
        made = self.stranger(capsule)
        answer = made.hello(self.token.read_text(), principal=principal)
        if answer is None or answer["status"] != "ok":
            made.close()
            raise RuntimeError(f"it was not let in: {answer}")
        return made

    def refused(self, **hello: Any) -> str | None:
        """Why a client is refused; None when the connection is closed instead."""
        with self.stranger() as made:
            answer = made.hello(**{"token": self.token.read_text(), "principal": "alice", **hello})
            return None if answer is None else answer["reason"]

    def rules(self) -> list[str]:
        """What refused, in order."""
        return [event.rule for event in self.decisions]
