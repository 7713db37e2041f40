"""The messages that wait in one subscription: oldest first, and who has most loses first.

Trusted with fairness: what one principal says costs no other its messages as long as it has fewer
of them. Its owner holds a lock around each call.
"""

from __future__ import annotations

from collections import deque

from astrid_hookspecs.buses import Envelope
from astrid_hookspecs.values import Principal


class FairQueue:
    """Envelopes in the order in which they came.

    Attributes:
        messages: For reading only.
        bytes: Of their payloads together.
    """

    __slots__ = ("_shares", "bytes", "messages")

    def __init__(self) -> None:
        self.messages: deque[Envelope] = deque()
        self.bytes = 0
        self._shares: dict[Principal | None, list[int]] = {}
        """By principal: messages, and bytes."""

    def append(self, envelope: Envelope) -> None:
        """Add the newest."""
        self.messages.append(envelope)
        size = len(envelope.payload)
        self.bytes += size
        share = self._shares.get(envelope.principal)
        if share is None:
            self._shares[envelope.principal] = [1, size]
        else:
            share[0] += 1
            share[1] += size

    def take(self, *, max_bytes: int) -> tuple[tuple[Envelope, ...], int]:
        """Remove the first message, and more of the same origin while they fit.

        It ends before a message of another principal, and where the same principal is attributed
        otherwise: a claim must not be read in the context of a verified message.

        Args:
            max_bytes: Budget for the sum of payload lengths; the first message may exceed it.

        Returns:
            The messages, none when it is empty, and their bytes.
        """
        queue = self.messages
        if not queue:
            return (), 0
        first = queue.popleft()
        taken = [first]
        size = len(first.payload)
        while queue:
            following = queue[0]
            if (
                following.principal != first.principal
                or following.attribution is not first.attribution
                or size + len(following.payload) > max_bytes
            ):
                break
            size += len(following.payload)
            taken.append(queue.popleft())
        self._forget(first.principal, count=len(taken), size=size)
        return tuple(taken), size

    def drop_one(self, *, by_bytes: bool) -> int:
        """Remove the oldest message of the principal that has most, but never the newest of all.

        Args:
            by_bytes: Whether most bytes or most messages.

        Returns:
            How many bytes it had.
        """
        queue = self.messages
        at = 0
        if len(self._shares) > 1:
            measure = 1 if by_bytes else 0
            most = max(self._shares, key=lambda principal: self._shares[principal][measure])
            at = next(at for at, message in enumerate(queue) if message.principal == most)
            if at == len(queue) - 1:
                at = 0
        dropped = queue[at]
        del queue[at]
        size = len(dropped.payload)
        self._forget(dropped.principal, count=1, size=size)
        return size

    def clear(self) -> None:
        """Forget everything."""
        self.messages.clear()
        self._shares.clear()
        self.bytes = 0

    def _forget(self, principal: Principal | None, *, count: int, size: int) -> None:
        self.bytes -= size
        share = self._shares[principal]
        if share[0] == count:
            del self._shares[principal]
        else:
            share[0] -= count
            share[1] -= size
