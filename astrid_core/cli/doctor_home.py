"""Checks of the runtime home: that it is this user's alone, whole and readable.

They look at files without opening the home the way a kernel does, because that would make it.
Spec: kernel-and-security 2; cli-and-ux T-01, T-02.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from astrid_core.cli.doctor_check import Check, Finding
from astrid_core.daemon.run_paths import RunPaths
from astrid_core.kernel.home import KEY_SIZE, LAYOUT_VERSION, Home
from astrid_core.kernel.home_lock import lock_holder
from astrid_core.kernel.home_path import resolve_home

_FOREIGN_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_FOREIGN: Final = stat.S_IRWXG | stat.S_IRWXO
_FREE_FAIL: Final = 64 * 1024 * 1024
_FREE_WARN: Final = 1024 * 1024 * 1024
_DIRECTORIES: Final = ("", "run", "etc", "etc/profiles", "var", "var/audit", "log", "keys")
_MAX_CHECKED_LOG: Final = 64 * 1024 * 1024


def home_checks(home: Path) -> list[Check]:
    """The checks of a home whose path is a valid one."""
    return [
        Check("permissions", lambda: check_permissions(home)),
        Check("layout", lambda: _layout(home)),
        Check("signing key", lambda: _signing_key(home)),
        Check("lock", lambda: _lock(home)),
        Check("token", lambda: _token(home)),
        Check("disk space", lambda: _disk_space(home)),
        Check("audit log", lambda: _audit_log(home)),
    ]


def check_home_path() -> Finding:
    """Whether the environment names a usable place.

    Raises:
        ConfigError: `home.path`.
    """
    home = resolve_home(os.environ)
    if home.is_dir():
        return Finding("home", "ok", str(home))
    if os.path.lexists(home):
        return Finding("home", "fail", f"{home} is no directory", "set ASTRID_HOME to another path")
    return Finding("home", "warn", f"{home} does not exist yet", "it is made by: astrid start")


def check_permissions(home: Path) -> Finding:
    """Whether every directory is this user's alone."""
    if not home.is_dir():
        return Finding("permissions", "warn", "there is no home yet", "astrid start")
    lax = []
    for path in (home / name for name in _DIRECTORIES):
        if not os.path.lexists(path):
            continue
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        if status.st_uid != os.geteuid():
            return Finding(
                "permissions",
                "fail",
                f"{path} belongs to another user (uid {status.st_uid})",
                "set ASTRID_HOME to a directory that you own",
            )
        if mode & _FOREIGN_WRITE:
            return Finding(
                "permissions",
                "fail",
                f"other users can write to {path} (mode {mode:04o})",
                f"look at what is inside, then run: chmod 700 {path}",
            )
        if mode & _FOREIGN:
            lax.append(path)
    if not lax:
        return Finding("permissions", "ok", "only you can look inside")
    return Finding(
        "permissions",
        "warn",
        f"other users can look into {', '.join(map(str, lax))}",
        f"chmod 700 {' '.join(map(str, lax))}",
        partial(_tighten, lax),
    )


def _tighten(directories: list[Path]) -> None:
    for path in directories:
        path.chmod(0o700)


def _layout(home: Path) -> Finding:
    path = home / "etc" / "layout-version"
    if not path.exists():
        return Finding("layout", "warn", "there is none yet", "astrid start")
    found = path.read_text(encoding="ascii", errors="replace").strip()[:32]
    if found != str(LAYOUT_VERSION):
        return Finding(
            "layout",
            "fail",
            f"the home has version {found!r}, this Astrid knows {LAYOUT_VERSION}",
            "upgrade Astrid, or choose another home with ASTRID_HOME",
        )
    return Finding("layout", "ok", f"version {found}")


def _signing_key(home: Path) -> Finding:
    path = home / "keys" / "runtime.key"
    if not os.path.lexists(path):
        return Finding("signing key", "warn", "there is none yet", "it is made by: astrid start")
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_size != KEY_SIZE:
        return Finding("signing key", "fail", f"{path} is no key of {KEY_SIZE} bytes", "restore it")
    return _private(path, "signing key", mode=status.st_mode)


def _lock(home: Path) -> Finding:
    path = RunPaths(home / "run").lock
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        return Finding("lock", "fail", f"{path} is no regular file", f"rm {path}")
    holder = lock_holder(path)
    return Finding("lock", "ok", "free" if holder is None else f"held by process {holder}")


def _token(home: Path) -> Finding:
    path = RunPaths(home / "run").token
    if not os.path.lexists(path):
        return Finding("token", "ok", "none, as no daemon has been started")
    return _private(path, "token", mode=path.lstat().st_mode)


def _private(path: Path, name: str, *, mode: int) -> Finding:
    if stat.S_IMODE(mode) & _FOREIGN:
        return Finding(
            name,
            "fail",
            f"other users can use {path} (mode {stat.S_IMODE(mode):04o})",
            f"if nobody else can have used it, run: chmod 600 {path}",
        )
    return Finding(name, "ok", "only you can read it")


def _disk_space(home: Path) -> Finding:
    free = os.statvfs(_existing(home))
    left, files = free.f_bavail * free.f_frsize, free.f_favail
    detail = f"{left / (1 << 20):.0f} MiB free"
    if left < _FREE_FAIL or (free.f_files and files < 100):  # noqa: PLR2004 - next to nothing
        return Finding("disk space", "fail", detail, "free some space, or move ASTRID_HOME")
    if left < _FREE_WARN:
        return Finding("disk space", "warn", detail, "free some space before it is used up")
    return Finding("disk space", "ok", detail)


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())


def _audit_log(home: Path) -> Finding:
    directory = home / "var" / "audit"
    if not (home / "keys" / "runtime.key").is_file():
        return Finding("audit log", "ok", "there is none yet")
    if check_permissions(home).status == "fail":
        return Finding("audit log", "warn", "not looked at", "put the permissions right first")
    size = sum(_sizes(directory))
    if size > _MAX_CHECKED_LOG:
        return Finding(
            "audit log",
            "ok",
            f"{size / (1 << 20):.0f} MiB, too long to check here",
            "astrid audit verify",
        )
    from astrid_core.domain.audit_commit import LogKey  # noqa: PLC0415 - loads crypto
    from astrid_core.kernel.audit.places import AuditPlaces  # noqa: PLC0415 - the same
    from astrid_core.kernel.audit.reader import verify_log  # noqa: PLC0415 - the same

    key = LogKey(Home.open(home).runtime_key())
    verdicts = verify_log(AuditPlaces(directory), keys=[key.public], own=key)
    broken = [str(verdict.chain) for verdict in verdicts if not verdict.condition.is_sound]
    if broken:
        return Finding(
            "audit log",
            "fail",
            f"not as it was written: {', '.join(broken[:5])}",
            "keep a copy as evidence; see: astrid audit verify",
        )
    entries = sum(verdict.entries for verdict in verdicts)
    return Finding("audit log", "ok", f"{entries} entries in {len(verdicts)} chains are whole")


def _sizes(directory: Path) -> Iterator[int]:
    for place, _, names in os.walk(directory):
        for name in names:
            path = Path(place, name)
            if os.path.lexists(path):
                yield path.lstat().st_size
