"""From what the operator typed to a directory on this machine.

Trusted with the promise that nothing is fetched: a name that means a place on the network is
refused with an explanation, never guessed to be a path. Spec: capsules-and-bus 2.2.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, Literal, NamedTuple

from astrid_core.domain.archive_rules import MANIFEST
from astrid_hookspecs.errors import CapsuleError

SUFFIX: Final = ".capsule"

_GITHUB: Final = re.compile(r"(?:https?://)?(?:www\.)?github\.com[/:]", re.IGNORECASE)
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://|git@", re.IGNORECASE)

Route = Literal["local", "github", "convert"]


class Source(NamedTuple):
    """Where a capsule comes from.

    Attributes:
        path: Absolute.
        kind: `archive` for a `.capsule` file, `directory` for everything else.
    """

    path: Path
    kind: Literal["archive", "directory"]


def route(text: str) -> Route:
    """Which rule of the source grammar applies; looks at nothing but the text.

    Spec: capsules-and-bus 2.2, vector 129.
    """
    if text.startswith((".", "/")):
        return "local"
    if text.startswith("openclaw:"):
        return "github" if text.startswith("openclaw:@") else "convert"
    if text.startswith("@") or _GITHUB.match(text):
        return "github"
    return "local"


def find_source(text: str, *, cwd: Path) -> Source:
    """Find a local source.

    Args:
        text: What the operator typed.
        cwd: What relative paths start from.

    Raises:
        CapsuleError: `capsule.remote-source`: it lies on the network; `capsule.source`: there is
            nothing, or nothing that can be installed.
    """
    if route(text) != "local" or _URL.match(text):
        raise CapsuleError(
            f"{text[:120]!a} is not on this machine, and this version installs local sources only",
            code="capsule.remote-source",
            hint="download the .capsule file or clone the repository, then install its path",
        )
    path = cwd / text
    try:
        if path.is_dir():
            return Source(path.resolve(), "directory")
        is_file = path.is_file()
    except (OSError, ValueError) as error:
        raise CapsuleError(f"{text[:120]!a} cannot be read", code="capsule.source") from error
    if not is_file and path.is_symlink():
        raise CapsuleError(
            f"{text[:120]!a} is a symbolic link that leads nowhere", code="capsule.source"
        )
    if not is_file:
        raise CapsuleError(
            f"there is nothing at {text[:120]!a}",
            code="capsule.source",
            hint="give the path of a .capsule file or of a capsule's directory",
        )
    if path.name == MANIFEST:
        return Source(path.resolve().parent, "directory")
    if path.suffix != SUFFIX:
        raise CapsuleError(
            f"{text[:120]!a} is not a {SUFFIX} file",
            code="capsule.source",
            hint="make one with `astrid capsule build`",
        )
    return Source(path.resolve(), "archive")


def require_manifest(directory: Path) -> None:
    """Refuse a directory that is no capsule.

    Raises:
        CapsuleError: `capsule.source`.
    """
    if not os.path.lexists(directory / MANIFEST):
        raise CapsuleError(
            f"there is no {MANIFEST} in {directory}, so that is no capsule",
            code="capsule.source",
            hint="`astrid capsule new NAME` starts one",
        )
