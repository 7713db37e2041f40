"""From a checked request to a running process: the gate, the workspace, the record, the start.

Trusted with the order (host-abi 2.4, 13.2) and with what is recorded: command, arguments, directory
and the hash of files; never variables, input or output.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from blake3 import blake3

from astrid_core.domain.guest_path import WORKSPACE
from astrid_core.domain.payload_message import format_timestamp
from astrid_core.domain.process_request import ProcessRequest, ProcessRequestError
from astrid_core.host.instance import Instance
from astrid_core.host.process_service import Launch, PersistentProcess, RunningProcess, Tier
from astrid_hookspecs.audit import AuditEntry, AuditValue
from astrid_hookspecs.engines import WitError
from astrid_hookspecs.errors import AstridError, AuditError, PathEscapeError
from astrid_hookspecs.values import Principal

_NS_PER_S = 1_000_000_000
_T = TypeVar("_T")


class ProcessLauncher:
    """Starts processes for one instance.

    Args:
        instance: For whom.
    """

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def start(self, function: str, request: ProcessRequest, *, tier: Tier) -> RunningProcess:
        """Start a process.

        Raises:
            DeniedError, SandboxError, AuditError, ProcessRequestError: As guests are told.
        """
        launch = self._checked(function, request, tier=tier)
        return self._recorded(function, launch, self._instance.services.processes.start)

    def persist(self, function: str, request: ProcessRequest) -> PersistentProcess:
        """Start a process that outlives the call; raises as `start`."""
        launch = self._checked(function, request, tier="persistent")
        return self._recorded(function, launch, self._instance.services.processes.persist)

    def record(
        self, function: str, process: RunningProcess, detail: Mapping[str, AuditValue]
    ) -> None:
        """Record what is about to be done to a running process.

        Raises:
            AuditError: It must not happen.
        """
        launch = process.launch
        facts = {"command": launch.command.argv[0], **detail}
        self._append(function, launch.command.argv[0], "allowed", launch.command.rule, facts)

    def _checked(self, function: str, request: ProcessRequest, *, tier: Tier) -> Launch:
        instance, services = self._instance, self._instance.services
        principal = instance.principal
        command = services.gate.check_process(
            instance.grants,
            principal,
            request.argv,
            allowed=services.profiles.process_allow(principal),
            network=services.processes.allows_network,
        )
        if tier == "persistent":
            services.gate.check_persistent(instance.grants, principal)
            if not instance.is_for_somebody:
                raise WitError("persist-unsupported")
        try:
            workspace = self._workspace(principal, request.cwd)
        except PathEscapeError as error:
            facts = _facts(request)
            self._append(function, request.argv[0], "denied", error.rule, facts)
            raise
        return Launch(
            command=command,
            request=request,
            workspace=workspace,
            principal=principal,
            capsule=instance.context.id,
            load=instance.context.spec.source_id,
            max_background=services.profiles.quotas(principal).max_background_processes,
            call_id=instance.call_id,
            tier=tier,
        )

    def _workspace(self, principal: Principal, cwd: tuple[str, ...]) -> Path:
        """The workspace on the host, in which the directory exists and leads nowhere else."""
        instance = self._instance
        hook = instance.purpose == "lifecycle"
        lease = instance.services.files.lease(
            principal,
            WORKSPACE,
            install_directory=instance.context.spec.directory if hook else None,
        )
        with lease:
            physical = lease.mount.physical
        if physical is None:
            raise ProcessRequestError("the workspace is not on the disk of this machine")
        root = Path(physical)
        try:
            found = root.joinpath(*cwd).resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise ProcessRequestError("there is no such directory") from error
        if not found.is_relative_to(root.resolve()):
            raise PathEscapeError("a process works inside the workspace", rule="process.cwd")
        if not found.is_dir():
            raise ProcessRequestError("there is no such directory")
        return root

    def _recorded(self, function: str, launch: Launch, start: Callable[[Launch], _T]) -> _T:
        facts = _facts(launch.request)
        program, rule = launch.command.argv[0], launch.command.rule
        self._append(function, program, "allowed", rule, facts)
        try:
            return start(launch)
        except AstridError as error:
            with contextlib.suppress(AuditError):  # nothing happened that the log does not say
                self._append(function, program, "failed", rule, {**facts, "error": error.code})
            raise

    def _append(
        self,
        function: str,
        resource: str,
        outcome: str,
        rule: str,
        detail: Mapping[str, AuditValue],
    ) -> None:
        services = self._instance.services
        services.audit.append(
            AuditEntry(
                timestamp=format_timestamp(int(services.clock.now() * _NS_PER_S)),
                principal=self._instance.principal,
                capsule=self._instance.context.id,
                action=f"process.{function}",
                resource=resource,
                outcome=outcome,
                rule=rule,
                detail=detail,
                severity="high" if outcome == "denied" else "normal",
            )
        )


def _facts(request: ProcessRequest) -> dict[str, AuditValue]:
    facts: dict[str, AuditValue] = {
        "command": request.argv[0],
        "arguments": list(request.argv[1:]),
        "cwd": "/".join(request.cwd),
    }
    if request.files:
        hashes = [blake3(file.content).hexdigest() for file in request.files]
        facts["content_hash"] = " ".join(hashes)
    return facts
