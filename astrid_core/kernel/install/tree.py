"""Directory trees of capsules: writing, reading, hashing and deleting them.

Trusted with staying inside one directory. Every step goes through a descriptor of the parent with
`O_NOFOLLOW`, so a name that changes between two steps fails instead of leading elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from blake3 import blake3

from astrid_core.domain.archive_rules import (
    DEFAULT_LIMITS,
    ArchiveLimits,
    EntryKind,
    EntryLedger,
    refuse,
)
from astrid_hookspecs.errors import CapsuleError, IntegrityError

CHUNK: Final = 256 * 1024

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SKIPPED: Final = {".git", "target", "__pycache__"}
_SKIPPED_AT_ROOT: Final = {"dist", ".astrid", "meta.json", ".env.json"}


def open_beneath(root: int, parts: tuple[str, ...], *, flags: int = _READ) -> int:
    """Open `parts` below the directory descriptor `root` without following any link."""
    current = os.dup(root)
    try:
        for part in parts[:-1]:
            current = _step(current, part)
        return os.open(parts[-1], flags, dir_fd=current) if parts else os.dup(current)
    finally:
        os.close(current)


def _step(current: int, part: str) -> int:
    """Replace a directory descriptor by that of its child; the old one is closed on success."""
    child = os.open(part, _DIRECTORY, dir_fd=current)
    os.close(current)
    return child


class TreeWriter:
    """Creates new files and directories below `root`; never replaces one and never leaves it.

    Files get mode 0600, or 0700 where they are executable; directories 0700.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, _DIRECTORY)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._root)

    def make_directory(self, parts: tuple[str, ...]) -> None:
        """Create a directory and its parents; existing ones are fine."""
        os.close(self._enter(parts))

    def write_file(
        self, parts: tuple[str, ...], chunks: Iterable[bytes], *, is_executable: bool = False
    ) -> None:
        """Create a file, and its parents, with the given content."""
        parent = self._enter(parts[:-1])
        try:
            mode = 0o700 if is_executable else 0o600
            descriptor = os.open(parts[-1], _CREATE, mode, dir_fd=parent)
        finally:
            os.close(parent)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            for chunk in chunks:
                file.write(chunk)

    def _enter(self, parts: tuple[str, ...]) -> int:
        current = os.dup(self._root)
        try:
            for part in parts:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=current)
                current = _step(current, part)
        except BaseException:
            os.close(current)
            raise
        return current


class SourceEntry(NamedTuple):
    """One entry of a source tree.

    Attributes:
        parts: Path relative to the root.
        kind: File or directory.
        size: Bytes of content; 0 for a directory.
        is_executable: Whether the owner may execute the file.
        descriptor: Open for reading until the next entry is asked for; -1 for a directory.
    """

    parts: tuple[str, ...]
    kind: EntryKind
    size: int = 0
    is_executable: bool = False
    descriptor: int = -1

    def chunks(self) -> Iterator[bytes]:
        """The content: exactly `size` bytes.

        Raises:
            ArchiveError: `capsule.archive.changed`; the file shrank while it was read.
        """
        left = self.size
        while left:
            data = os.read(self.descriptor, min(left, CHUNK))
            if not data:
                raise refuse("/".join(self.parts), "changed", "changed while it was being read")
            left -= len(data)
            yield data


def walk_source(root: Path, *, limits: ArchiveLimits = DEFAULT_LIMITS) -> Iterator[SourceEntry]:
    """The entries of a capsule directory, sorted, parents first, under the rules for archives.

    Leaves out `.git`, `target` and `__pycache__` anywhere, and `dist`, `.astrid` and what the
    installer writes at the root. Links are followed as long as they stay inside `root`.

    Raises:
        ArchiveError: As `EntryLedger`; also `link-escape`, `kind`, `changed` and `unreadable`.
        CapsuleError: `capsule.source`: `root` is no directory, or cannot be read.

    Spec: capsules-and-bus 2.4 step 6.
    """
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise CapsuleError(
            f"{root} cannot be read: {error.strerror}", code="capsule.source"
        ) from error
    try:
        walker = _Walker(root.resolve(), descriptor, EntryLedger(limits))
        status = os.fstat(descriptor)
        yield from walker.walk(descriptor, (), frozenset({(status.st_dev, status.st_ino)}))
        walker.ledger.finish()
    finally:
        os.close(descriptor)


class _Walker:
    def __init__(self, root: Path, descriptor: int, ledger: EntryLedger) -> None:
        self.root = root
        self.descriptor = descriptor
        self.ledger = ledger

    def walk(
        self, directory: int, parts: tuple[str, ...], above: frozenset[tuple[int, int]]
    ) -> Iterator[SourceEntry]:
        for name in sorted(os.listdir(directory)):
            if name in _SKIPPED or (not parts and name in _SKIPPED_AT_ROOT):
                continue
            child = (*parts, name)
            descriptor = self._open(directory, child)
            try:
                yield from self._entry(descriptor, child, above)
            finally:
                os.close(descriptor)

    def _open(self, directory: int, parts: tuple[str, ...]) -> int:
        name = "/".join(parts)
        try:
            status = os.stat(parts[-1], dir_fd=directory, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
                return os.open(parts[-1], _READ, dir_fd=directory)
        except FileNotFoundError as error:
            raise refuse(name, "changed", "went away while the directory was read") from error
        except OSError as error:
            raise refuse(name, "unreadable", f"cannot be read: {error.strerror}") from error
        if not stat.S_ISLNK(status.st_mode):  # opening a pipe or a device could block or act
            raise refuse(name, "kind", "is neither a file nor a directory")
        try:
            target = self.root.joinpath(*parts).resolve()
        except RuntimeError as error:
            raise refuse(name, "link-escape", "is a symbolic link to itself") from error
        if not target.is_relative_to(self.root):
            raise refuse(
                name,
                "link-escape",
                "is a symbolic link that leaves the capsule's directory",
                hint="copy the file into the directory",
            )
        try:
            return open_beneath(self.descriptor, target.relative_to(self.root).parts)
        except OSError as error:
            raise refuse(name, "link-escape", "is a symbolic link without a target") from error

    def _entry(
        self, descriptor: int, parts: tuple[str, ...], above: frozenset[tuple[int, int]]
    ) -> Iterator[SourceEntry]:
        status = os.fstat(descriptor)
        name = "/".join(parts)
        if stat.S_ISDIR(status.st_mode):
            identity = (status.st_dev, status.st_ino)
            if identity in above:
                return  # a link to a directory above: its content is already there
            self.ledger.admit(name, kind="directory")
            yield SourceEntry(parts, "directory")
            yield from self.walk(descriptor, parts, above | {identity})
        elif stat.S_ISREG(status.st_mode):
            self.ledger.admit(name, kind="file", size=status.st_size)
            is_executable = bool(status.st_mode & stat.S_IXUSR)
            yield SourceEntry(parts, "file", status.st_size, is_executable, descriptor)
        else:
            raise refuse(name, "kind", "is neither a file nor a directory")


def copy_source(source: Path, target: Path, *, limits: ArchiveLimits = DEFAULT_LIMITS) -> None:
    """Copy a capsule directory into the existing directory `target`.

    Raises:
        ArchiveError: As `walk_source`, like the `CapsuleError`.
    """
    with TreeWriter(target) as writer:
        for entry in walk_source(source, limits=limits):
            if entry.kind == "directory":
                writer.make_directory(entry.parts)
            else:
                writer.write_file(entry.parts, entry.chunks(), is_executable=entry.is_executable)


def hash_tree(root: Path, *, leave_out: frozenset[str] = frozenset()) -> str:
    """BLAKE3 over names, execute bits and content of every file below `root`; 64 hex digits.

    Args:
        root: An installed or staged capsule directory.
        leave_out: Names at the top level that do not count.

    Raises:
        IntegrityError: There is something that is neither file nor directory.
    """
    digest = blake3()
    descriptor = os.open(root, _DIRECTORY)
    try:
        _hash_directory(descriptor, (), digest, leave_out)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def _hash_directory(
    directory: int, parts: tuple[str, ...], digest: blake3, leave_out: frozenset[str]
) -> None:
    for name in sorted(os.listdir(directory)):
        if not parts and name in leave_out:
            continue
        path = "/".join((*parts, name))
        try:
            descriptor = os.open(name, _READ, dir_fd=directory)
        except OSError as error:
            raise IntegrityError(f"{path!a} cannot be read: {error.strerror}") from error
        try:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                _hash_directory(descriptor, (*parts, name), digest, leave_out)
            elif stat.S_ISREG(status.st_mode):
                _hash_file(descriptor, path, status, digest)
            else:
                raise IntegrityError(f"{path!a} is neither a file nor a directory")
        finally:
            os.close(descriptor)


def _hash_file(descriptor: int, path: str, status: os.stat_result, digest: blake3) -> None:
    encoded = path.encode("utf-8", "surrogateescape")
    content = blake3()
    while data := os.read(descriptor, CHUNK):
        content.update(data)
    # Lengths and a fixed-size inner digest keep two different trees from yielding the same bytes.
    digest.update(len(encoded).to_bytes(8, "little"))
    digest.update(encoded)
    digest.update(b"x" if status.st_mode & stat.S_IXUSR else b"-")
    digest.update(content.digest())


def sync_tree(root: Path) -> None:
    """Make every file and directory below `root` durable."""
    for _, names, files, descriptor in os.fwalk(root, topdown=False, follow_symlinks=False):
        del names
        for name in files:
            file = os.open(name, _READ, dir_fd=descriptor)
            try:
                os.fsync(file)
            finally:
                os.close(file)
        os.fsync(descriptor)


def remove_tree(path: Path) -> None:
    """Delete a tree; a missing one is fine. Links are removed, not followed."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)
