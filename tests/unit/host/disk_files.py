"""The mounts of the reference's world for files, on a real disk. Spec: host-abi 21.1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from astrid_core.builtin.host_vfs import open_host_directory
from astrid_core.host.mount import Mount
from astrid_hookspecs.errors import CapabilityDeniedError
from astrid_hookspecs.values import Principal
from astrid_hookspecs.vfs import VfsDirectory

MIB = 1024 * 1024


class DiskLease:
    """Implements `MountLease`; counts what is open."""

    def __init__(self, mount: Mount, *, open_leases: list[str]) -> None:
        self.mount = mount
        self._open = open_leases
        self._open.append(mount.scheme)

    def close(self) -> None:
        if self.mount.scheme in self._open:
            self._open.remove(self.mount.scheme)
            self.mount.root.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        del kind, error, trace
        self.close()


class DiskFiles:
    """Implements `Files`: a workspace for all, a home for `alice` alone.

    Attributes:
        workspace: Where the workspace is.
        home: Where the home of `alice` is.
        open_leases: Schemes of the leases that are open.
        wrap: Put around each root, for tests that interfere.
        physical: What the workspace calls its path on the host.
        install_directories: What was asked for as workspace of life-cycle hooks.
    """

    def __init__(self, base: Path) -> None:
        self.workspace = base / "workspace"
        self.home = base / "home"
        self.open_leases: list[str] = []
        self.wrap: Callable[[VfsDirectory], VfsDirectory] = lambda root: root
        self.physical: str | None = str(self.workspace)
        self.install_directories: list[Path] = []
        (self.workspace / "d").mkdir(parents=True)
        (self.workspace / "a.txt").write_bytes(b"hi")
        with (self.workspace / "big").open("wb") as big:
            big.truncate(10 * MIB + 1)
        (self.workspace / "in").symlink_to("a.txt")
        (self.workspace / "out").symlink_to("/etc/passwd")
        (self.workspace / "dang").symlink_to("nowhere")
        (self.home / "data").mkdir(parents=True)
        (self.home / "x").write_bytes(b"mine")
        (self.home / ".local" / "tmp").mkdir(parents=True)
        (self.home / ".config").mkdir()
        (self.home / ".config" / "key").write_bytes(b"secret")

    def schemes(self) -> frozenset[str]:
        return frozenset({"workspace", "home", "tmp"})

    def lease(
        self, principal: Principal, scheme: str, *, install_directory: Path | None = None
    ) -> DiskLease:
        places = {"workspace": self.workspace}
        if install_directory is not None:
            self.install_directories.append(install_directory)
        if principal == "alice":
            places |= {"home": self.home, "tmp": self.home / ".local" / "tmp"}
        if scheme not in places:
            raise CapabilityDeniedError(f"{principal} has no {scheme}", rule=f"mount:{scheme}")
        is_workspace = scheme == "workspace"
        mount = Mount(
            scheme=scheme,
            root=self.wrap(open_host_directory(places[scheme], foreign=False)),
            physical=self.physical if is_workspace else str(places[scheme]),
            creates_parents=is_workspace,
        )
        return DiskLease(mount, open_leases=self.open_leases)
