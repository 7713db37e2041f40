"""The resource `subscription` of `astrid:ipc@1.0.0`: a bus subscription in a guest's hands."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from astrid_core.domain.topic import matches_acl
from astrid_hookspecs.buses import Batch, BusSubscription
from astrid_hookspecs.values import Principal

MAX_BATCH_BYTES: Final = 1024 * 1024


class Subscription:
    """Receives for one pattern until dropped. Also the `WaitSource` of its readiness pollables.

    Args:
        queue: The bus subscription; given to `dropped` in the end, which closes it.
        exact: Deliver only what the access-list matcher accepts. Set for a handler's topic that no
            grant covers: the handler stands for one level, the receiver matcher for a subtree.
        hears: Whether messages of a principal may be delivered; asked once per batch.
        dropped: Told when the guest is done with it.
    """

    def __init__(
        self,
        queue: BusSubscription,
        *,
        exact: bool,
        hears: Callable[[Principal | None], bool],
        dropped: Callable[[Subscription, BusSubscription], None],
    ) -> None:
        self._queue = queue
        self._exact = exact
        self._hears = hears
        self._dropped = dropped
        self._closed = False

    def take(self) -> Batch:
        """What is queued: messages of one principal, at most 1 MiB together.

        Messages that may not be delivered are dropped here, not counted as lost.
        """
        lagged = 0
        while True:
            batch = self._queue.take(max_bytes=MAX_BATCH_BYTES)
            lagged += batch.lagged
            messages = batch.messages
            if messages and not self._hears(messages[0].principal):
                messages = ()
            if self._exact:
                messages = tuple(
                    message
                    for message in messages
                    if matches_acl(message.topic, self._queue.pattern)
                )
            if messages or not batch.messages:
                return Batch(messages, lagged)

    def is_ready(self) -> bool:
        """Whether messages wait, or none will come any more.

        A subscription that filters may be ready for messages that `take` then leaves out.
        """
        return self._closed or self._queue.is_ready()

    def add_waiter(self, event: threading.Event) -> None:
        """As `WaitSource.add_waiter`."""
        if self._closed:
            event.set()
        else:
            self._queue.add_waiter(event)

    def remove_waiter(self, event: threading.Event) -> None:
        """As `WaitSource.remove_waiter`."""
        self._queue.remove_waiter(event)

    def drop(self) -> None:
        """As `HostResource.drop`; pollables made from it are ready from now on."""
        if not self._closed:
            self._closed = True
            self._dropped(self, self._queue)
