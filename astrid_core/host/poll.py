"""Host functions of `astrid:io/poll@1.0.0`: wait until something is ready. Spec: host-abi 9.1."""

from __future__ import annotations

from astrid_core.host.handlers import HostPackage, handles
from astrid_core.host.instance import Waited
from astrid_core.host.pollable import MAX_POLLABLES, Pollable
from astrid_hookspecs.engines import WitError


class PollHost(HostPackage):
    """`poll` and the methods of `pollable`."""

    interface = "astrid:io/poll@1.0.0"

    @handles("[method]pollable.ready")
    def ready(self, pollable: Pollable) -> bool:
        """Whether waiting would return at once."""
        return pollable.source.is_ready()

    @handles("[method]pollable.block")
    def block(self, pollable: Pollable) -> None:
        """Wait until ready.

        Raises:
            WitError: `cancelled` when the capsule or the call ends first.
        """
        self._wait((pollable,))

    @handles("poll")
    def poll(self, pollables: list[Pollable]) -> list[int]:
        """Wait until one is ready; the indexes of all that are, ascending.

        Raises:
            WitError: `invalid-input` for none, `too-large` for more than 256, `cancelled`.
        """
        if not pollables:
            raise WitError("invalid-input")
        if len(pollables) > MAX_POLLABLES:
            raise WitError("too-large")
        while True:
            self._wait(tuple(pollables))
            ready = [index for index, one in enumerate(pollables) if one.source.is_ready()]
            if ready:
                return ready

    def _wait(self, pollables: tuple[Pollable, ...]) -> None:
        sources = tuple(pollable.source for pollable in pollables)
        if self.instance.wait(sources, timeout_s=None) is not Waited.READY:
            raise WitError("cancelled")
