"""The kernel's side of one loaded capsule: makes the host side of its guest instances."""

from __future__ import annotations

from typing import Final

from astrid_core.host.context import CapsuleContext
from astrid_core.host.estate import Estate
from astrid_core.host.instance import Instance, Purpose
from astrid_core.host.ipc import IpcHost
from astrid_core.host.pulse import Beat
from astrid_core.host.registry import all_handlers
from astrid_core.host.services import HostServices
from astrid_core.host.tool_servers import ToolServers
from astrid_hookspecs.errors import CapsuleError
from astrid_hookspecs.values import Principal

MAX_RUN_BINDINGS: Final = 64
"""Handlers of a run-loop capsule. Spec: host-abi 16.2."""


class CapsuleHost(ToolServers):
    """Implements `astrid_hookspecs.tool_servers.ToolHost`.

    Args:
        context: The capsule.
        services: What its host functions act on.

    Attributes:
        estate: What its run loop did not receive any more, and what it can still receive of what
            the load before it left.
    """

    def __init__(self, context: CapsuleContext, *, services: HostServices) -> None:
        super().__init__(context, services=services)
        self._handlers = all_handlers()
        self._run: Instance | None = None
        self.estate = Estate()

    def open_instance(self, principal: Principal, *, purpose: Purpose) -> Instance:
        """As `HostApi.open_instance`; for a run loop, its handlers are subscribed on return.

        Raises:
            CapsuleError: `capsule.too-many-handlers`, for a run loop with more than 64.
        """
        instance = Instance(
            self._context,
            services=self._services,
            principal=principal,
            purpose=purpose,
            handlers=self._handlers,
            estate=self.estate if purpose == "run" else None,
        )
        if purpose == "run":
            self._prepare_bindings(instance)
            self._run = instance
        return instance

    def beat(self) -> Beat | None:
        """The latest sign of life of the run loop; None where none was started."""
        return None if self._run is None else self._run.pulse.beat()

    def _prepare_bindings(self, instance: Instance) -> None:
        count = len(self._context.bindings)
        if count > MAX_RUN_BINDINGS:
            raise CapsuleError(
                f"capsule {self._context.id!r} has a run loop and {count} handlers; at most "
                f"{MAX_RUN_BINDINGS} are possible",
                code="capsule.too-many-handlers",
                hint="subscribe to a wildcard topic inside the run loop instead",
            )
        ipc = instance.package(IpcHost)
        ipc.prepare_bindings()
        instance.report_unclaimed(ipc.unclaimed)
