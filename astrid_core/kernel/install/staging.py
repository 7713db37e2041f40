"""Putting a prepared capsule directory in place, so that a crash leaves the old or the new one.

Trusted with never leaving a name without a whole version behind it. Work happens in hidden sibling
directories on the same file system; discovery skips hidden names; `clean_up` removes what a killed
process left. Callers hold the home lock. Spec: capsules-and-bus 11 C-29, C-32.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from astrid_core.kernel.durable import fsync_directory
from astrid_core.kernel.install.tree import remove_tree
from astrid_hookspecs.values import is_capsule_id

STAGING_PREFIX: Final = ".staging-"
OLD_PREFIX: Final = ".old-"
REMOVED_PREFIX: Final = ".removed-"

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
_UNSUPPORTED: Final = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM}

Exchange = Callable[[Path, Path], bool]


def new_staging(capsules: Path) -> Path:
    """Create an empty private directory beside the installed capsules."""
    staging = capsules / f"{STAGING_PREFIX}{secrets.token_hex(8)}"
    staging.mkdir(mode=0o700)
    return staging


def exchange_paths(one: Path, other: Path) -> bool:
    """Let two names swap what they stand for, in one atomic step.

    Returns:
        False, with nothing changed, where the system or file system cannot.

    Raises:
        OSError: It can, but this exchange failed.
    """
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    status = renameat2(
        _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), ctypes.c_uint(_RENAME_EXCHANGE)
    )
    if status == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(one))


def put_in_place(staging: Path, target: Path, *, exchange: Exchange = exchange_paths) -> Path:
    """Make the directory `staging` the one at `target`; durable on return.

    Args:
        staging: A complete, synced directory beside `target`.
        target: The capsule's directory, or where it will be.
        exchange: Swaps two names atomically if the system can.

    Returns:
        Where the previous version is now, or a path at which there is nothing; to be given to
        `discard`.
    """
    if not os.path.lexists(target):
        staging.rename(target)
        previous = staging
    elif exchange(staging, target):
        previous = staging
    else:
        # Between these two renames the name is free; `clean_up` closes that gap after a crash.
        previous = _aside(staging, target)
        target.rename(previous)
        try:
            staging.rename(target)
        except BaseException:
            previous.rename(target)
            raise
    fsync_directory(target.parent)
    return previous


def _aside(staging: Path, target: Path) -> Path:
    return target.with_name(f"{OLD_PREFIX}{target.name}{staging.name.replace('-', '.')}")


def put_back(staging: Path, target: Path, *, exchange: Exchange = exchange_paths) -> None:
    """Undo `put_in_place(staging, target)`; the new version is discarded."""
    aside = _aside(staging, target)
    previous = aside if os.path.lexists(aside) else staging
    if os.path.lexists(previous):
        discard(put_in_place(previous, target, exchange=exchange))
    else:
        take_away(target)


def take_away(target: Path) -> None:
    """Remove an installed directory: gone at once, then deleted."""
    removed = target.with_name(f"{REMOVED_PREFIX}{secrets.token_hex(8)}")
    target.rename(removed)
    fsync_directory(target.parent)
    remove_tree(removed)


def discard(previous: Path) -> None:
    """Delete a directory that nothing refers to any more; nothing there is fine."""
    remove_tree(previous)


def clean_up(capsules: Path) -> list[str]:
    """Finish or undo what a killed process left in a directory of capsules.

    Returns:
        What was done, one phrase each, for the log.
    """
    done: list[str] = []
    if not capsules.is_dir() or capsules.is_symlink():
        return done
    # What `put_back` moved aside has a longer name: what it was to bring back has its turn first.
    names = sorted((entry.name for entry in capsules.iterdir()), key=lambda n: (n.count("."), n))
    for name in names:
        if not name.startswith(OLD_PREFIX):
            continue
        capsule = name.removeprefix(OLD_PREFIX).partition(".")[0]
        if is_capsule_id(capsule) and not os.path.lexists(capsules / capsule):
            (capsules / name).rename(capsules / capsule)
            done.append(f"restored {capsule}")
        else:
            remove_tree(capsules / name)
            done.append(f"deleted the previous version of {capsule}")
    for name in names:
        if name.startswith((STAGING_PREFIX, REMOVED_PREFIX)):
            remove_tree(capsules / name)
            done.append(f"deleted {name}")
    if done:
        fsync_directory(capsules)
    return done
