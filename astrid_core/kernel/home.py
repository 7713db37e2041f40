"""The runtime home: its layout, its key and its lock.

Trusted with the one directory everything else rests on. It refuses a home that another user could
have prepared and never follows a symbolic link inside it. It interprets nothing stored there but
the layout version and the runtime key.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from blake3 import blake3

from astrid_core.kernel.durable import create_exclusive, fsync_directory, write_atomic
from astrid_core.kernel.home_lock import HomeLock, HomeLockedError
from astrid_core.kernel.home_path import resolve_home
from astrid_hookspecs.errors import ConfigError, IntegrityError
from astrid_hookspecs.values import CapsuleId, Principal

__all__ = [
    "Home",
    "HomeLock",
    "HomeLockedError",
    "PrincipalHome",
    "create_exclusive",
    "fsync_directory",
    "resolve_home",
    "write_atomic",
]

LAYOUT_VERSION: Final = 1
KEY_SIZE: Final = 32

_DIRECTORIES: Final = (
    "run",  # first: the lock lives here
    "etc",
    "etc/hooks",
    "etc/profiles",
    "var",
    "var/audit",
    "log",
    "keys",
    "bin",
    "wit",
    "secrets",
    "home",
)
_PRINCIPAL_DIRECTORIES: Final = (
    ".local",
    ".local/capsules",
    ".local/kv",
    ".local/tokens",
    ".local/tmp",
    ".local/log",
    ".config",
    ".config/env",
)
_SEAL_CONTEXT: Final = "astrid 2026-01 engine artefact seal"
_META_CONTEXT: Final = "astrid 2026-01 capsule meta seal"
_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PRIVATE: Final = 0o700
_FOREIGN_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class PrincipalHome:
    """Paths inside `home/{p}`; computing them touches nothing."""

    path: Path

    @property
    def capsules(self) -> Path:
        """Installed capsules, one directory each."""
        return self.path / ".local" / "capsules"

    @property
    def tokens(self) -> Path:
        """Reserved for capability tokens."""
        return self.path / ".local" / "tokens"

    @property
    def tmp(self) -> Path:
        """Root of the guests' `/tmp`."""
        return self.path / ".local" / "tmp"

    @property
    def log(self) -> Path:
        """Capsule logs, one directory per capsule."""
        return self.path / ".local" / "log"

    @property
    def servers(self) -> Path:
        """Where tool servers work, one directory per capsule and server."""
        return self.path / ".local" / "servers"

    def log_dir(self, capsule: CapsuleId) -> Path:
        """Log files of one capsule, `YYYY-MM-DD.log`."""
        return self.log / capsule

    def env_file(self, capsule: CapsuleId) -> Path:
        """Answers to the capsule's `[env]` questions; a flat JSON object of strings, mode 0600."""
        return self.path / ".config" / "env" / f"{capsule}.env.json"


@dataclass(frozen=True, slots=True)
class Home:
    """An opened runtime home. Every method may be called from any thread.

    Spec: kernel-and-security 2.
    """

    path: Path
    _key: bytes = field(repr=False)

    @classmethod
    def open(cls, path: Path) -> Home:
        """Create or check the directory tree and load the runtime key, creating it on first use.

        Needs no lock: two processes that open a new home at once agree on one key.

        Args:
            path: Absolute, as `resolve_home` returns it.

        Raises:
            ConfigError: `home.*`; the home belongs to someone else, others can write to it, part
                of it is a symbolic link or no directory, or a newer Astrid made it.
            IntegrityError: `home.key`; the runtime key has a wrong length or lax permissions.
        """
        if not path.is_absolute():
            raise ConfigError(f"the runtime home {str(path)!r} is not absolute", code="home.path")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            claim_directory(path)
            for name in _DIRECTORIES:
                claim_directory(path / name)
            _check_layout(path / "etc" / "layout-version")
            return cls(path=path, _key=_load_key(path / "keys" / "runtime.key"))
        except OSError as error:
            raise ConfigError(
                f"the runtime home {path} cannot be used: {error.strerror or error}",
                code="home.unusable",
                hint="free some space, or move ASTRID_HOME to another disk"
                if error.errno in (errno.ENOSPC, errno.EDQUOT)
                else "set ASTRID_HOME to a directory that you own",
            ) from error

    def lock(self) -> HomeLock:
        """Claim the home for this process.

        Raises:
            HomeLockedError: Another process holds it.
            ConfigError: `home.lock`: what is there is no lock file.
            OSError: It cannot be made or written.

        Spec: kernel-and-security 16 D-01.
        """
        return HomeLock.acquire(self.run / "system.lock", home=self.path)

    def runtime_key(self) -> bytes:
        """The Ed25519 seed of this home, 32 raw bytes."""
        return self._key

    def seal_key(self) -> bytes:
        """32 bytes with which engines seal what they cache; says nothing about the runtime key."""
        return blake3(self._key, derive_key_context=_SEAL_CONTEXT).digest()

    def meta_key(self) -> bytes:
        """32 bytes with which `meta.json` files are sealed."""
        return blake3(self._key, derive_key_context=_META_CONTEXT).digest()

    @property
    def run(self) -> Path:
        """Socket, token, readiness file, lock."""
        return self.path / "run"

    @property
    def etc(self) -> Path:
        """Settings of the operator."""
        return self.path / "etc"

    @property
    def var(self) -> Path:
        """State of the kernel."""
        return self.path / "var"

    @property
    def audit(self) -> Path:
        """The audit log."""
        return self.var / "audit"

    @property
    def log(self) -> Path:
        """Log files of the daemon."""
        return self.path / "log"

    @property
    def bin(self) -> Path:
        """Content-addressed components, `<blake3>.wasm`."""
        return self.path / "bin"

    @property
    def wit(self) -> Path:
        """Content-addressed interface texts, `<blake3>.wit`."""
        return self.path / "wit"

    @property
    def secrets(self) -> Path:
        """File secrets."""
        return self.path / "secrets"

    def component(self, digest: str) -> Path:
        """Where the component with this BLAKE3 digest (64 hex digits) is kept."""
        return self.bin / f"{digest}.wasm"

    def principal(self, principal: Principal) -> PrincipalHome:
        """Paths of a principal's home, whether it exists or not."""
        return PrincipalHome(self.path / "home" / principal)

    def create_principal(self, principal: Principal) -> PrincipalHome:
        """Create or check a principal's home; every directory gets mode 0700.

        Raises:
            ConfigError: As `open`.
        """
        home = self.principal(principal)
        claim_directory(home.path)
        for name in _PRINCIPAL_DIRECTORIES:
            claim_directory(home.path / name)
        return home

    def principals(self) -> Iterator[Principal]:
        """Principals that have a home, sorted."""
        with os.scandir(self.path / "home") as entries:
            names = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
        for name in names:
            if not name.startswith("."):
                yield Principal(name)


def claim_directory(path: Path) -> None:
    """Create a directory with mode 0700, or check an existing one and tighten its mode.

    Tightening is enough only where others could merely read; where they could write, what lies
    inside may be theirs already.

    Raises:
        ConfigError: It is no directory, somebody else's, or others could write to it.
        OSError: It cannot be made or opened.
    """
    with contextlib.suppress(FileExistsError):
        path.mkdir(_PRIVATE)
    try:
        descriptor = os.open(path, _OPEN_DIRECTORY)
    except OSError as error:
        if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
            raise
        kind = "a symbolic link" if path.is_symlink() else "not a directory"
        raise ConfigError(
            f"{path} is {kind}",
            code="home.not-a-directory",
            hint="the runtime home and everything in it must be real directories",
        ) from error
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid():
            raise ConfigError(
                f"{path} belongs to another user (uid {status.st_uid})",
                code="home.foreign-owner",
                hint="set ASTRID_HOME to a directory that you own",
            )
        if status.st_mode & _FOREIGN_WRITE:
            raise ConfigError(
                f"other users can write to {path} (mode {stat.S_IMODE(status.st_mode):04o})",
                code="home.writable-by-others",
                hint=f"check what is inside, then run: chmod 700 {path}",
            )
        if stat.S_IMODE(status.st_mode) != _PRIVATE:
            os.fchmod(descriptor, _PRIVATE)
    finally:
        os.close(descriptor)


def _check_layout(path: Path) -> None:
    """Refuse a home that a newer version laid out. Spec: kernel-and-security 16 D-05."""
    if not os.path.lexists(path):
        create_exclusive(path, f"{LAYOUT_VERSION}\n".encode())
    text = _read_own_file(path, limit=64, code="home.layout-version").decode("ascii", "replace")
    if text.strip() != str(LAYOUT_VERSION):
        raise ConfigError(
            f"this home has layout version {text.strip()!r}, this Astrid knows {LAYOUT_VERSION}",
            code="home.layout-version",
            hint="upgrade Astrid, or choose another home with ASTRID_HOME",
        )


def _load_key(path: Path) -> bytes:
    """Read the runtime key, or create it complete and private in one step (D-07)."""
    if not os.path.lexists(path):
        create_exclusive(path, secrets.token_bytes(KEY_SIZE))
    data = _read_own_file(path, limit=KEY_SIZE + 1, code="home.key", forbidden_mode=0o077)
    if len(data) != KEY_SIZE:
        raise IntegrityError(
            f"the runtime key {path} does not have exactly {KEY_SIZE} bytes",
            code="home.key",
            hint="restore it from a backup; without it, sealed and signed data cannot be checked",
        )
    return data


def _read_own_file(path: Path, *, limit: int, code: str, forbidden_mode: int = 0) -> bytes:
    """Read at most `limit` bytes of a regular file that belongs to this user.

    Raises:
        IntegrityError: `code`; it is no such file, or its mode has one of the forbidden bits.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise IntegrityError(
            f"{path} cannot be read: {error.strerror}",
            code=code,
            hint="it must be a regular file that belongs to you",
        ) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise IntegrityError(f"{path} is not a regular file of this user", code=code)
        if status.st_mode & forbidden_mode:
            raise IntegrityError(
                f"other users can read or write {path} (mode {stat.S_IMODE(status.st_mode):04o})",
                code=code,
                hint=f"if nobody else can have used it, run: chmod 600 {path}",
            )
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)
