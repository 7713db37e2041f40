"""What every function for sockets does before it acts: the gate, names, addresses, slots, records.

Trusted with one look-up: what is connected to or sent to are the addresses that were judged, and
all of them have to be good. Spec: host-abi 12.1, 12.4.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from astrid_core.domain.ip_ranges import IpAddress, parse_address
from astrid_core.host.handlers import HostPackage
from astrid_core.host.instance import Instance, Waited
from astrid_core.host.net_errors import net_answer
from astrid_core.host.record import record
from astrid_core.host.signal_flag import SignalFlag
from astrid_core.host.threads import started_thread
from astrid_core.security.checked import CheckedAddress
from astrid_core.security.decider import Grant
from astrid_core.security.network_checks import endpoint
from astrid_hookspecs.cancel import WaitSource
from astrid_hookspecs.engines import HostResource, WitError
from astrid_hookspecs.errors import AuditError, DeniedError, QuotaExceededError

MAX_STREAMS: Final = 8
MAX_LISTENERS: Final = 4
MAX_DATAGRAM_SOCKETS: Final = 4
LOOKUP_S: Final = 10.0
_T = TypeVar("_T")
_KINDS: Final = {"stream": MAX_STREAMS, "listener": MAX_LISTENERS, "udp": MAX_DATAGRAM_SOCKETS}


class NetAccess:
    """Of one instance; shared by the functions for streams, listeners and datagrams.

    Args:
        instance: Whose.
    """

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self._live: dict[str, dict[HostResource, Callable[[], None]]] = {}
        self._live.update((kind, {}) for kind in _KINDS)
        self._network = instance.services.network

    def has_slot(self, kind: str) -> bool:
        """Whether there may be one more of a kind: `stream`, `listener`, `udp`."""
        is_free = len(self._live[kind]) < _KINDS[kind]
        return is_free and self._network.connections.has_room(self.instance.principal)

    def check_slot(self, kind: str) -> None:
        """Make sure that there may be one more.

        Raises:
            QuotaExceededError: There may not: the instance has too many of the kind, or its
                principal has too many sockets in all its capsules.
        """
        if len(self._live[kind]) >= _KINDS[kind]:
            raise QuotaExceededError(
                f"a capsule has at most {_KINDS[kind]} of these open", rule=f"net.{kind}"
            )
        self._network.connections.check(self.instance.principal)

    def take_slot(self, kind: str, resource: HostResource) -> None:
        """Count it, and drop it at the end of the instance.

        Raises:
            QuotaExceededError: Another capsule was faster; it is dropped at once.
        """
        try:
            self._live[kind][resource] = self._network.connections.take(self.instance.principal)
        except QuotaExceededError:
            resource.drop()
            raise
        self.instance.hold(resource)

    def give_back(self, kind: str, resource: HostResource) -> None:
        """It is gone."""
        gone = self._live[kind].pop(resource, None)
        if gone is not None:
            gone()
        self.instance.release(resource)

    def until(
        self, attempt: Callable[[], _T | None], source: WaitSource, *, timeout_s: float | None
    ) -> _T | None:
        """Try, wait and try again until it worked.

        A source that is always ready, because somebody else sees to it, wins no time: once the time
        is over there is one last attempt.

        Args:
            attempt: None says that it has to wait. Gives up by itself after a while.
            source: Ready when trying again makes sense.
            timeout_s: For all of it, None for no bound.

        Returns:
            None when the time passed.

        Raises:
            WitError: `closed`: the capsule or the call ended.
        """
        clock = self.instance.services.clock
        deadline = None if timeout_s is None else clock.monotonic() + timeout_s
        is_last = False
        while (found := attempt()) is None:
            left = None if deadline is None else max(0.0, deadline - clock.monotonic())
            waited = self.instance.wait((source,), timeout_s=left)
            if waited is Waited.CANCELLED or self.instance.is_stopped():
                raise WitError("closed")
            if waited is Waited.TIMEOUT or is_last:
                return None
            is_last = left == 0
        return found

    def addresses(self, host: str, port: int, *, timeout_s: float) -> list[IpAddress]:
        """Where a host leads; at least one. A literal is not looked up.

        Raises:
            WitError: `name-unresolvable`, `timeout`, `closed`.
            QuotaExceededError: Too many look-ups of the principal, or of everybody, have not ended.
        """
        literal = parse_address(host)
        if literal is not None:
            return [literal]
        over = self._network.lookups.take(self.instance.principal)
        done, found = SignalFlag(), list[IpAddress]()
        resolve = self._network.resolve

        def look_up() -> None:
            try:
                with contextlib.suppress(OSError):
                    found.extend(resolve(host, port))
            finally:
                over()
                done.set()

        # The resolver of the system cannot be interrupted: whoever has stopped waiting leaves it.
        try:
            started_thread(look_up, name="astrid-lookup", rule="net.threads")
        except QuotaExceededError:
            over()
            raise
        if self.until(lambda: done.is_ready() or None, done, timeout_s=timeout_s) is None:
            raise WitError("timeout")
        if not found:
            raise WitError("name-unresolvable")
        return found

    def checked(self, address: IpAddress, port: int, *, grant: Grant, host: str) -> CheckedAddress:
        """Proof that an address may be reached.

        Raises:
            CapabilityDeniedError: `network.local-egress`.
        """
        services = self.instance.services
        return services.gate.check_address(
            self.instance.grants,
            self.instance.principal,
            address,
            port,
            grant=grant,
            host=host,
            consent=services.network.consent,
        )

    @contextlib.contextmanager
    def recorded(self, action: str, host: str, port: int | None) -> Iterator[None]:
        """Put on record what follows: that it begins, and why it failed.

        Raises:
            AuditError: It is not on record, and does not begin.
        """
        self.note(action, host, port, "allowed")
        try:
            yield
        except (WitError, OSError, DeniedError) as error:
            verdict = error.case if isinstance(error, WitError) else type(error).__name__
            with contextlib.suppress(AuditError):  # the attempt is on record
                self.note(action, host, port, "failed", verdict=verdict)
            raise

    def note(
        self, action: str, host: str, port: int | None, outcome: str, *, verdict: str = ""
    ) -> None:
        """Put it on record; without a port for a local socket.

        Raises:
            AuditError: It is not.
        """
        at, number = (host, "") if port is None else (endpoint(host, port), str(port))
        record(
            self.instance,
            action,
            resource=at,
            outcome=outcome,
            detail={
                "host": host,
                "port": number,
                "verdict": verdict or outcome,
            },
        )


class NetPackage(HostPackage):
    """What the families of functions of `astrid:net` have in common."""

    interface = "astrid:net/host@1.0.0"

    def __init__(self, instance: Instance) -> None:
        super().__init__(instance)
        self._access = instance.package(NetAccess)

    @classmethod
    def foreseen(cls, error: Exception) -> WitError | None:
        """As `HostPackage.foreseen`."""
        return net_answer(error)
