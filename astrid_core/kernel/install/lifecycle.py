"""What the installer needs from the kernel to run a capsule's install and upgrade hooks.

Spec: capsules-and-bus 2.7, C-11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from astrid_core.domain.manifest import Manifest
from astrid_hookspecs.engines import Progress
from astrid_hookspecs.stores import KvWrite
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal

Phase = Literal["astrid-install", "astrid-upgrade"]
KvWrites = Mapping[str, Sequence[KvWrite]]
"""Writes by namespace."""


class HookSecrets(Protocol):
    """Secrets of one installation, which a failure takes back."""

    def given(self, name: str) -> str | None:
        """One that was given and is not in the store yet."""
        ...

    def keep(self, name: str, value: str) -> None:
        """Store one; raises `SecretError`."""
        ...


@dataclass(frozen=True, slots=True)
class LifecycleRequest:
    """One hook to run, or a component to check before that.

    Attributes:
        phase: Which export.
        manifest: Of the version being installed.
        directory: Its staged directory; complete but for `meta.json`.
        component: The component in the content store.
        component_hash: Its BLAKE3, 64 hex digits.
        previous_version: What is being replaced, None for a first installation.
        principal: For whom it is installed.
        environment: Answers to `[env]`, without secrets.
        secrets: Those that were given for this installation, and where those go that the hook asks
            for; None where no store is.
        progress: Where to report, or None.
    """

    phase: Phase
    manifest: Manifest
    directory: Path
    component: Path
    component_hash: str
    previous_version: str | None = None
    principal: Principal = DEFAULT_PRINCIPAL
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: HookSecrets | None = field(default=None, repr=False)
    progress: Progress | None = None


class LifecycleRunner(Protocol):
    """Runs hooks on the capsule's real key-value namespace, without writing to it."""

    def check(self, request: LifecycleRequest) -> None:
        """Load the component as it will be loaded to serve, and let go of it; runs no guest code.

        Raises:
            ComponentError: It does not fit its manifest, so it would never load.
        """
        ...

    def run(self, request: LifecycleRequest) -> KvWrites:
        """Run one hook to its end and return what it wrote, staged.

        Raises:
            EngineError: The hook trapped, ran too long or could not be started.
            DeniedError: It was refused something and trapped because of it.
        """
        ...

    def apply(self, writes: KvWrites) -> None:
        """Make such writes real and durable. Applying the same writes twice is harmless.

        Raises:
            StoreError: The store is damaged, full or closed.
        """
        ...

    def stored(self, writes: KvWrites) -> KvWrites:
        """What is stored now under the keys of such writes, as writes that would restore it."""
        ...
