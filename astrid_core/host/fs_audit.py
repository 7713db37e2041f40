"""What file functions write to the audit log.

Each mutation, read and open is recorded before it happens, and again when it then fails. Looking
around (`fs-exists`, `fs-readdir`, `fs-stat`, `fs-stat-symlink`) is sampled: per instance and
function at most one entry a second, which counts the calls since the entry before; what is left
over is recorded when the instance ends. Details are guest paths and byte counts, nothing else.

Spec: host-abi 2.3, 2.4.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Final, NamedTuple

from astrid_core.domain.payload_message import format_timestamp
from astrid_core.host.instance import Instance
from astrid_hookspecs.audit import AuditEntry, Severity
from astrid_hookspecs.errors import AuditError
from astrid_hookspecs.values import Principal

SAMPLE_S: Final = 1.0
_NS_PER_S: Final = 1_000_000_000
_SHOWN: Final = 512
"""Characters of a refused path that are kept."""


class Deed(NamedTuple):
    """One thing that a guest does.

    Attributes:
        function: `read-file`.
        resource: The place; the guest's own text while that leads nowhere.
        rule: Which rules allowed or refused it.
        detail: Guest paths and byte counts.
    """

    function: str
    resource: str
    rule: str
    detail: Mapping[str, str]

    @property
    def action(self) -> str:
        """`fs.read-file`, `fs.stat`."""
        return f"fs.{self.function.removeprefix('fs-')}"


class _Sample:
    """Calls of one function that no entry speaks of yet."""

    def __init__(self) -> None:
        self.next_at = float("-inf")
        self.unrecorded = 0
        self.last: Deed | None = None


class FsAudit:
    """Records for one instance.

    Args:
        instance: Whose principal and capsule the entries name.
    """

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._samples: dict[tuple[Principal, str], _Sample] = {}

    def before(self, deed: Deed) -> None:
        """Record what the gate allowed and is about to happen.

        Raises:
            AuditError: It must not happen.
        """
        self._append(deed, "allowed", {})

    def transferred(self, deed: Deed, *, principal: Principal) -> None:
        """Record what an open file gave away altogether; opening it was recorded before."""
        with contextlib.suppress(AuditError):
            self._append(deed, "allowed", {}, principal=principal, severity="low")

    def failed(self, deed: Deed, case: str) -> None:
        """Record that it failed, with the guest's error case."""
        with contextlib.suppress(AuditError):  # nothing happened that the log does not say
            self._append(deed, "failed", {"error": case})

    def refused(self, deed: Deed) -> None:
        """Record an escape or a missing mount, which the gate does not see.

        Raises:
            AuditError: It was not recorded.
        """
        self._append(deed, "denied", {}, severity="high")

    def glanced(self, deed: Deed) -> None:
        """Record looking around, now or together with what follows.

        Raises:
            AuditError: An entry was due and was not recorded.
        """
        if not self._samples:
            self._instance.hold(self)
        principal = self._instance.principal
        sample = self._samples.setdefault((principal, deed.function), _Sample())
        sample.unrecorded += 1
        sample.last = deed
        now = self._instance.services.clock.monotonic()
        if now >= sample.next_at:
            self._record_sample(principal, sample)
            sample.next_at = now + SAMPLE_S

    def drop(self) -> None:
        """Record what no entry spoke of, at the end of the instance."""
        for (principal, _), sample in self._samples.items():
            with contextlib.suppress(AuditError):
                self._record_sample(principal, sample)

    def _record_sample(self, principal: Principal, sample: _Sample) -> None:
        if sample.last is not None and sample.unrecorded:
            extra = {"calls": str(sample.unrecorded)}
            self._append(sample.last, "allowed", extra, principal=principal, severity="low")
            sample.unrecorded = 0

    def _append(
        self,
        deed: Deed,
        outcome: str,
        extra: Mapping[str, str],
        *,
        principal: Principal | None = None,
        severity: Severity = "normal",
    ) -> None:
        services = self._instance.services
        detail = {key: text[:_SHOWN] for key, text in deed.detail.items()}
        services.audit.append(
            AuditEntry(
                timestamp=format_timestamp(int(services.clock.now() * _NS_PER_S)),
                principal=principal or self._instance.principal,
                capsule=self._instance.context.id,
                action=deed.action,
                resource=deed.resource[:_SHOWN],
                outcome=outcome,
                rule=deed.rule,
                detail={**detail, **extra},
                severity=severity,
            )
        )
