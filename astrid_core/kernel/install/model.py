"""What goes into an installation and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from astrid_core.kernel.install.content import EngineSource
from astrid_core.kernel.install.installed import InstalledCapsule
from astrid_core.kernel.install.lifecycle import LifecycleRunner
from astrid_core.ports.audit import AuditTrail
from astrid_core.ports.clock import Clock
from astrid_hookspecs.secrets import SecretStore

Outcome = Literal["installed", "upgraded", "reinstalled", "unchanged"]


def _quiet(step: str) -> None:
    """Hear about a step and do nothing."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What installing needs from the rest of the kernel.

    Attributes:
        engine: Returns the engine for components.
        clock: Wall clock.
        audit: Told before anything is installed.
        lifecycle: Tries components and runs hooks; None where no kernel is at hand: capsules with
            hooks are refused.
        secrets: Where secret answers go; None refuses capsules that are given some.
        on_step: Hears about each step before it starts.
    """

    engine: EngineSource
    clock: Clock
    audit: AuditTrail
    lifecycle: LifecycleRunner | None = None
    secrets: SecretStore | None = None
    on_step: Callable[[str], object] = field(default=_quiet)


@dataclass(frozen=True, slots=True)
class InstallResult:
    """What an installation did.

    Attributes:
        outcome: `unchanged`: the same version with the same content was there already.
        capsule: What is installed now.
        previous_version: What was there before, None on a first installation.
    """

    outcome: Outcome
    capsule: InstalledCapsule
    previous_version: str | None


STEPS: Final = (
    "stage",
    "unpack",
    "manifest",
    "content",
    "meta",
    "hook",
    "record",
    "secrets",
    "journal",
    "swap",
    "apply",
    "finish",
)
"""Every step, in order; tests stop a process at each."""
