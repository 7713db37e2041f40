"""Host functions of `astrid:sys@1.0.0`: configuration, caller, log, clocks, randomness.

Trusted with secrets on their way to the guest they belong to: a secret-typed key is answered by the
secret store alone, and nothing here writes a value to a log. Spec: host-abi 14.
"""

from __future__ import annotations

import uuid
from typing import Final, NamedTuple

from loguru import logger

from astrid_core.host.handlers import HostPackage, handles
from astrid_core.host.instance import Instance, Waited
from astrid_core.host.label import is_secret_key
from astrid_core.host.log_line import LogBudget, log_line
from astrid_hookspecs.engines import WitError

MAX_SLEEP_NS: Final = 60_000_000_000
MAX_RANDOM_BYTES: Final = 4096
SOCKET_KEY: Final = "ASTRID_SOCKET_PATH"
RESERVED_PREFIX: Final = "__"

_SOCKET_CAPABILITIES: Final = frozenset({"net_bind", "uplink"})
_NS_PER_S: Final = 1_000_000_000


class CallerRecord(NamedTuple):
    """The record `caller-context`."""

    principal: str | None
    source_id: str
    timestamp: str


class SysHost(HostPackage):
    """The functions of `astrid:sys/host@1.0.0`."""

    interface = "astrid:sys/host@1.0.0"

    def __init__(self, instance: Instance) -> None:
        super().__init__(instance)
        self._log_budget = LogBudget()

    @handles("get-config")
    def get_config(self, key: str) -> str | None:
        """A configuration value; a secret-typed key never falls back to ordinary configuration.

        A key that nobody declared can be one that an install hook asked a secret for [H-35].
        """
        context = self.instance.context
        if key.startswith(RESERVED_PREFIX):
            raise WitError("config-key-reserved")
        if key in context.secret_keys:
            return self._secret(key)
        if key == SOCKET_KEY and not (_SOCKET_CAPABILITIES & self.instance.grants.capabilities):
            return None
        if key not in context.config and is_secret_key(key):
            return self._secret(key)
        return context.config_text(key)

    @handles("get-caller")
    def get_caller(self) -> CallerRecord:
        """Who caused the running call, as the message says."""
        caller = self.instance.caller
        if caller is None:
            return CallerRecord(None, "", "")
        return CallerRecord(caller.principal, caller.source_id, caller.timestamp)

    @handles("log")
    def log(self, level: str, message: str) -> None:
        """Write one line to the effective principal's log of this capsule."""
        instance = self.instance
        admitted, dropped = self._log_budget.admit(now=instance.services.clock.monotonic())
        write, capsule = instance.services.logs.write, instance.context.id
        if dropped:
            write(instance.principal, capsule, "WARN", f"{dropped} messages dropped: too many")
        if admitted:
            write(instance.principal, capsule, level.upper(), log_line(message))

    @handles("signal-ready")
    def signal_ready(self) -> None:
        """Release the loader; nothing outside a run loop waits for it.

        Whoever says it is ready has subscribed to what it handles; what is left over would fill a
        queue that nobody reads, so it is worth a warning.
        """
        if self.instance.purpose != "run" or self.instance.ready.is_set():
            return
        self.instance.ready.set()
        unclaimed = self.instance.unclaimed_bindings()
        if unclaimed:
            logger.warning(
                "the run loop of {} is ready without having subscribed to its handlers' topics: {}",
                self.instance.context.id,
                ", ".join(unclaimed),
            )

    @handles("clock-ms")
    def clock_ms(self) -> int:
        """Milliseconds since 1970."""
        return int(self.instance.services.clock.now() * 1000)

    @handles("clock-monotonic-ns")
    def clock_monotonic_ns(self) -> int:
        """Nanoseconds from an arbitrary origin."""
        return self.instance.services.clock.monotonic_ns()

    @handles("sleep-ns")
    def sleep_ns(self, duration_ns: int) -> None:
        """Sleep for at most 60 s; the end of the capsule or of the call wakes it."""
        if duration_ns > MAX_SLEEP_NS:
            raise WitError("too-large")
        if self.instance.wait((), timeout_s=duration_ns / _NS_PER_S) is Waited.CANCELLED:
            raise WitError("cancelled")

    @handles("random-bytes")
    def random_bytes(self, length: int) -> bytes:
        """At most 4096 bytes of the operating system's generator."""
        if length > MAX_RANDOM_BYTES:
            raise WitError("too-large")
        return self.instance.services.random_bytes(length)

    @handles("check-capsule-capability")
    def check_capsule_capability(self, request: tuple[str, str]) -> tuple[bool]:
        """Whether the capsule behind a source id holds a capability; unknown ones hold none."""
        source, capability = request
        directory = self.instance.services.capsules
        if directory is None:
            raise WitError("registry-unavailable")
        try:
            source_id = str(uuid.UUID(source))
        except ValueError:
            return (False,)
        return (capability in (directory.capabilities(source_id) or frozenset()),)

    @handles("enumerate-capabilities")
    def enumerate_capabilities(self) -> list[str]:
        """Names of the capabilities that this capsule holds, sorted."""
        return sorted(self.instance.grants.capabilities)

    def _secret(self, key: str) -> str | None:
        instance = self.instance
        lookup = instance.services.secrets
        if lookup is None:
            return None
        with instance.services.blocked():  # a keychain takes its time
            return lookup(instance.principal, instance.context.id, key) or None
