"""Where capsules are installed: in the default principal's home, or in a workspace.

Trusted with choosing directories. A workspace is somebody else's repository until proven otherwise:
links in it are refused, and what it brings along is believed only with this home's seal.
Spec: capsules-and-bus 2.1, 3.1; kernel-and-security 2.2.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final, Literal, NamedTuple

from astrid_core.kernel.home import Home
from astrid_hookspecs.errors import ConfigError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, CapsuleId

Scope = Literal["user", "workspace"]

_MARKERS: Final = (".astrid", ".git", "ASTRID.md")


class Place(NamedTuple):
    """A directory that holds one directory per installed capsule.

    Attributes:
        scope: `user` or `workspace`.
        path: The directory; it need not exist.
    """

    scope: Scope
    path: Path

    def capsule(self, name: CapsuleId) -> Path:
        """Where a capsule of that name is, or would be."""
        return self.path / name

    def create(self) -> None:
        """Make sure that the directory exists, is real, and is ours alone to write.

        Raises:
            ConfigError: `workspace.unsafe`.
        """
        if self.scope == "workspace":
            _claim(self.path.parent)
        _claim(self.path)


def user_place(home: Home) -> Place:
    """Where `astrid capsule install` puts capsules by default."""
    return Place("user", home.principal(DEFAULT_PRINCIPAL).capsules)


def workspace_place(workspace: Path) -> Place:
    """Where `--workspace` puts them."""
    return Place("workspace", workspace / ".astrid" / "capsules")


def places(home: Home, workspace: Path | None) -> tuple[Place, ...]:
    """Every place to look in, the one that wins first. Spec: capsules-and-bus 3.1."""
    user = user_place(home)
    return (user,) if workspace is None else (user, workspace_place(workspace))


def find_workspace(start: Path, *, home: Path) -> Path:
    """The project that `start` lies in: the first directory upwards with a marker, else `start`.

    Args:
        start: Absolute directory.
        home: The runtime home; neither it nor any other runtime home is a marker
            (kernel-and-security D-09).
    """
    for directory in (start, *start.parents):
        for name in _MARKERS:
            marker = directory / name
            if marker.exists() and marker != home and not _is_runtime_home(marker):
                return directory
    return start


def _is_runtime_home(path: Path) -> bool:
    return (path / "keys" / "runtime.key").exists()


def _claim(path: Path) -> None:
    path.mkdir(mode=0o700, exist_ok=True)
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        problem = "is a symbolic link, not a directory"
    elif status.st_uid != os.geteuid():
        problem = "belongs to another user"
    elif status.st_mode & stat.S_IWOTH:  # group bits: many machines give everybody a group
        problem = "can be written by everybody"
    else:
        return
    raise ConfigError(f"{path} {problem}", code="workspace.unsafe")
