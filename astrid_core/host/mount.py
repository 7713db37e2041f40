"""The mounts that file functions work on, as the kernel hands them out.

Trusted with nothing: it says what a mount is. Which mounts exist for whom is decided by the
kernel's `Files`; without one, nobody has any.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Protocol, Self

from astrid_hookspecs.errors import CapabilityDeniedError
from astrid_hookspecs.values import Principal
from astrid_hookspecs.vfs import VfsDirectory


@dataclass(frozen=True, slots=True)
class Mount:
    """One root that guests reach by a scheme.

    Attributes:
        scheme: `workspace`, `home`, `tmp`, or a configured name.
        root: The directory; the lease owns it.
        physical: Absolute canonical path of the root on the host, for the literal patterns of the
            gate; None when it is not on the disk. Never shown to a guest.
        creates_parents: Whether `write-file` and `fs-append` make missing directories here.
    """

    scheme: str
    root: VfsDirectory
    physical: str | None
    creates_parents: bool


class MountLease(Protocol):
    """Keeps a mount open until it is closed; a context manager. Safe from any thread."""

    mount: Mount

    def close(self) -> None:
        """Give the mount back; closing twice is not an error."""
        ...

    def __enter__(self) -> Self:
        """The lease itself."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        """Closes the lease."""
        ...


class Files(Protocol):
    """Hands out mounts. Safe from any thread."""

    def schemes(self) -> frozenset[str]:
        """Names that guests may use before `://`, besides `cwd`."""
        ...

    def lease(
        self, principal: Principal, scheme: str, *, install_directory: Path | None = None
    ) -> MountLease:
        """Open a principal's mount.

        Args:
            principal: Effective principal of the host call.
            scheme: One of `schemes()`.
            install_directory: For life-cycle hooks, whose workspace is a read-only view of it.

        Raises:
            CapabilityDeniedError: The principal has no such mount: no home, no workspace.
        """
        ...


class NoFiles:
    """Implements `Files` without any mount: the default, which refuses everything."""

    def schemes(self) -> frozenset[str]:
        """The names that every guest knows, although nothing is behind them."""
        return frozenset({"workspace", "home", "tmp"})

    def lease(
        self, principal: Principal, scheme: str, *, install_directory: Path | None = None
    ) -> NoReturn:
        """As `Files.lease`; always refuses."""
        del install_directory
        raise CapabilityDeniedError(
            f"principal {principal!r} has no {scheme}:// here", rule="mount.none"
        )
