"""How each mount is opened: the workspace under its overlay, the home, the temporary directory.

Trusted with what guests can reach at all. The runtime home is never part of a workspace, and
without an overlay a workspace accepts no changes: a guest's edits reach the disk only when a person
commits them. Spec: kernel-and-security 10.5, 16 D-08, D-66; host-abi 5.1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from blake3 import blake3

from astrid_core.builtin.host_vfs import open_host_directory
from astrid_core.host.mount import Mount
from astrid_core.kernel.home import Home, create_exclusive
from astrid_core.kernel.mounts.configured import ConfiguredMount
from astrid_core.kernel.mounts.metered import MeteredDirectory
from astrid_core.kernel.mounts.metering import StorageMeter
from astrid_core.kernel.mounts.table import MountKey, Opener, OpenMount
from astrid_core.kernel.mounts.tree_size import TreeSize, tree_size
from astrid_core.kernel.mounts.views import RestrictedDirectory
from astrid_hookspecs.errors import CapabilityDeniedError, ConfigError
from astrid_hookspecs.values import Principal
from astrid_hookspecs.vfs import OverlaySpec, VfsDirectory, VfsOverlay, VfsOverlayRecord

WORKSPACE: Final = "workspace"
HOME: Final = "home"
TMP: Final = "tmp"
_RESERVED_IN_HOME: Final = frozenset({".local", ".config"})


class MountOpeners:
    """Opens the roots of one kernel. Safe from any thread.

    Args:
        home: The runtime home.
        workspace: The project directory, or None.
        overlay: The overlay to use, or None.
        storage_limit: A principal's storage limit in bytes.
        mounts: Configured mounts by name.
        multi_linked: Whether files with several names may be read in the workspace.

    Raises:
        ConfigError: `workspace.*`: the workspace cannot be one.
    """

    def __init__(
        self,
        home: Home,
        *,
        workspace: Path | None,
        overlay: VfsOverlayRecord | None,
        storage_limit: Callable[[Principal], int],
        mounts: Mapping[str, ConfiguredMount],
        multi_linked: bool = False,
    ) -> None:
        self._home = home
        self._workspace = None if workspace is None else _real_workspace(workspace)
        self._overlay = overlay
        self._storage_limit = storage_limit
        self._mounts = mounts
        self._multi_linked = multi_linked
        self._meters: dict[Principal, StorageMeter] = {}
        self._overlays: dict[Principal, VfsOverlay] = {}

    @property
    def workspace(self) -> Path | None:
        """The workspace's real path."""
        return self._workspace

    def by_scheme(self) -> dict[str, Opener]:
        """What `MountTable` needs."""
        openers: dict[str, Opener] = {
            WORKSPACE: self._open_workspace,
            HOME: self._open_home,
            TMP: self._open_home,
        }
        return openers | dict.fromkeys(self._mounts, self._open_configured)

    def overlay_of(self, principal: Principal) -> VfsOverlay:
        """The overlay of a principal whose workspace is leased right now.

        Raises:
            CapabilityDeniedError: Its workspace has no overlay.
        """
        found = self._overlays.get(principal)
        if found is None:
            raise CapabilityDeniedError(
                "the workspace has no overlay: it is read-only",
                rule="mount.no-overlay",
                hint="install the package astrid-vfs-overlay",
            )
        return found

    def lower_of_workspace(self) -> VfsDirectory:
        """The workspace as it is on the disk, without the runtime home; the caller closes it.

        Raises:
            CapabilityDeniedError: There is no workspace.
        """
        root = self._workspace
        if root is None:
            raise CapabilityDeniedError(
                "this kernel has no workspace",
                rule="mount.no-workspace",
                hint="open the kernel with a workspace, or run the command inside a project",
            )
        runtime = self._home.path.resolve()
        if root == runtime or runtime in root.parents:
            raise CapabilityDeniedError(
                "the workspace is inside the runtime home, which no guest may see",
                rule="mount.runtime-home",
                hint="work in a project directory, or choose another home with ASTRID_HOME",
            )
        # A commit gives its own copy up, so what it makes on the disk has to last.
        inner = open_host_directory(
            root, foreign=True, multi_linked=self._multi_linked, durable=True
        )
        hidden = [runtime.relative_to(root).as_posix()] if root in runtime.parents else []
        return RestrictedDirectory(inner, writable=True, hidden=hidden) if hidden else inner

    def _open_workspace(self, key: MountKey) -> OpenMount:
        if key.directory is not None:  # a life-cycle hook sees what is being installed
            inner = open_host_directory(key.directory, foreign=True)
            return _opened(key, RestrictedDirectory(inner, writable=False), key.directory)
        if key.principal is None:
            raise CapabilityDeniedError("nobody has no workspace", rule="mount.no-workspace")
        lower = self.lower_of_workspace()
        if self._overlay is None:
            return _opened(key, RestrictedDirectory(lower, writable=False), self._workspace)
        return self._open_overlay(key.principal, lower)

    def _open_overlay(self, principal: Principal, lower: VfsDirectory) -> OpenMount:
        if self._overlay is None or self._workspace is None:
            raise CapabilityDeniedError("there is no overlay", rule="mount.no-overlay")
        with ExitStack() as release:
            release.callback(lower.close)
            account = self.meter(principal).account()
            release.callback(account.close)
            store = overlay_store(self._home, principal, self._workspace)
            overlay = self._overlay.factory(OverlaySpec(lower=lower, store=store, meter=account))
            release.callback(overlay.close)
            account.enforce()
            self._overlays[principal] = overlay
            release.callback(self._overlays.pop, principal, None)
            mount = Mount(WORKSPACE, overlay, str(self._workspace), creates_parents=True)
            return OpenMount(mount, release.pop_all())

    def _open_home(self, key: MountKey) -> OpenMount:
        if key.principal is None:
            raise CapabilityDeniedError("nobody has no home", rule="mount.no-home")
        home = self._home.principal(key.principal)
        if not home.tmp.is_dir() or home.path.is_symlink():
            raise CapabilityDeniedError(
                f"principal {key.principal!r} has no home", rule="mount.no-home"
            )
        path = home.path if key.scheme == HOME else home.tmp
        # A link into a home is made by nobody but the machine's own user, and leads out of it.
        inner = open_host_directory(path, foreign=False, multi_linked=False)
        at = "" if key.scheme == HOME else home.tmp.relative_to(home.path).as_posix()
        return _opened(key, MeteredDirectory(inner, self.meter(key.principal), at=at), path)

    def _open_configured(self, key: MountKey) -> OpenMount:
        configured = self._mounts[key.scheme]
        root = configured.open()
        if not configured.writable:
            root = RestrictedDirectory(root, writable=False)
        return _opened(key, root, None)

    def meter(self, principal: Principal) -> StorageMeter:
        """What a principal keeps; counted when it is first asked for."""
        found = self._meters.get(principal)
        if found is None:
            made = StorageMeter(
                limit=lambda: self._storage_limit(principal),
                count=lambda: self._count(principal),
            )
            found = self._meters.setdefault(principal, made)
        return found

    def _count(self, principal: Principal) -> TreeSize:
        """Bytes that guests put into a principal's home, and into overlays of other projects."""
        home = self._home.principal(principal)
        guests = tree_size(home.path, leave_out=_RESERVED_IN_HOME).plus(tree_size(home.tmp))
        stores = self._home.var / "overlays" / principal
        own = None if self._workspace is None else workspace_key(self._workspace)
        return guests.plus(tree_size(stores, leave_out=frozenset({own} if own else ())))


def workspace_key(workspace: Path) -> str:
    """Names the overlays of a workspace: 32 hex digits of the BLAKE3 of its real path."""
    return blake3(os.fsencode(workspace)).hexdigest()[:32]


def overlay_store(home: Home, principal: Principal, workspace: Path) -> Path:
    """The directory of a principal's overlay of a workspace, created with mode 0700.

    It is named after the workspace's path, never after something inside the workspace: a project
    cannot claim the uncommitted changes of another one.
    """
    store = home.var / "overlays" / principal / workspace_key(workspace)
    for directory in (store.parent.parent, store.parent, store):
        directory.mkdir(mode=0o700, exist_ok=True)
    note = store / "workspace"
    if not note.exists():
        create_exclusive(note, os.fsencode(workspace) + b"\n")
    return store


def _opened(key: MountKey, root: VfsDirectory, physical: Path | None) -> OpenMount:
    release = ExitStack()
    release.callback(root.close)
    place = None if physical is None else str(physical)
    return OpenMount(Mount(key.scheme, root, place, creates_parents=False), release)


def _real_workspace(workspace: Path) -> Path:
    try:
        real = workspace.resolve(strict=True)
    except OSError as error:
        raise ConfigError(
            f"the workspace {workspace} cannot be used: {error.strerror}",
            code="workspace.unusable",
        ) from error
    if not real.is_dir():
        raise ConfigError(f"the workspace {workspace} is no directory", code="workspace.unusable")
    return real
