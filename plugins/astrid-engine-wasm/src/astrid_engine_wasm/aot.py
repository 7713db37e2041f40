"""The cache of compiled components: sealed native code, checked before every load.

Trusted with the question whether a file may be executed. An artefact is loaded only when its seal,
its name, the component it was made from and the machine it was made for all agree, and then exactly
the bytes that were verified are mapped:

- the file is opened once, without following links, and only the descriptor is used after that; it
  must be a regular file of this user with mode 0600 and one name;
- while it is verified and mapped, a read lease keeps writers out: the system refuses the lease as
  long as anybody has the file open for writing, and makes a later writer wait until the lease is
  gone. Without a lease, an unlinked private copy is verified and mapped instead;
- the runtime maps the same descriptor, through its path below `/proc/self/fd` or `/dev/fd`.

Once mapped, pages that were not touched yet could still be changed through the file by a process of
the same user; that process could change this one's code by many other ways, so nothing is done
about it (a sealed copy in memory would cost the size of the artefact, 35 MB for a Python capsule).

Whatever is doubtful is removed and compiled again; a doubt is never an error for the caller.
"""

from __future__ import annotations

import fcntl
import json
import logging
import mmap
import os
import re
import shutil
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from wasmtime import Engine, WasmtimeError
from wasmtime.component import Component

from astrid_engine_wasm import seal
from astrid_engine_wasm.report import ComponentFacts, facts_from_json
from astrid_hookspecs.errors import ComponentError, EngineError, IntegrityError

_log = logging.getLogger(__name__)

_SUFFIX: Final = ".aot"
_TEMPORARY: Final = ".tmp-"
_COPY_CHUNK: Final = 1 << 20
_FILE_MODE: Final = 0o600
_DIRECTORY_MODE: Final = 0o700
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_HAS_LEASES: Final = sys.platform == "linux"
_DESCRIPTOR_DIRECTORY: Final = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"
_LEFTOVER_AGE_S: Final = 24 * 3600.0
UNUSED_AGE_S: Final = 30 * 24 * 3600.0
"""An artefact that no process has used for so long is removed."""
MAX_ARTEFACT_BYTES: Final = 4 << 30
"""More than the compiler may write for the largest component; a file that is longer is none of its,
and a sparse one costs whoever plants it nothing."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")

_Value = TypeVar("_Value")


class _DoubtError(Exception):
    """Why an artefact is not used."""


class ArtefactCache:
    """Compiled components by digest. Every method may be called from any thread.

    Args:
        directory: A directory of the engine's own; created with mode 0700 when missing.
        secret: 32 bytes, secret to this home.
        fingerprint: Names what artefacts depend on besides the component.

    Raises:
        IntegrityError: The directory belongs to somebody else or is a link.
    """

    def __init__(self, directory: Path, *, secret: bytes, fingerprint: str) -> None:
        self._directory = directory
        self._key = seal.derive_seal_key(secret)
        self._fingerprint = fingerprint
        self._used: set[Path] = set()
        _check_directory(directory)
        self._remove_leftovers()

    def path_of(self, digest: str) -> Path:
        """Where the artefact of a component lives."""
        return self._directory / f"{digest}-{self._fingerprint}{_SUFFIX}"

    def facts(self, digest: str) -> ComponentFacts | None:
        """What is sealed about a component, None when it has no usable artefact."""
        found = self._use(digest, lambda _path: None)
        return None if found is None else found[0]

    def load(self, engine: Engine, digest: str) -> tuple[ComponentFacts, Component] | None:
        """Verify an artefact and map it.

        Args:
            engine: The engine that will run it.
            digest: BLAKE3 of the component, 64 hex digits.

        Returns:
            None when there is none; a doubtful one has been removed.
        """
        return self._use(digest, lambda path: Component.deserialize_file(engine, path))

    def _use(
        self, digest: str, action: Callable[[str], _Value]
    ) -> tuple[ComponentFacts, _Value] | None:
        """Call `action` with a path that leads to verified bytes and to nothing else."""
        path = self.path_of(digest)
        try:
            descriptor = os.open(path, _OPEN_FLAGS)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._discard(path, f"it cannot be opened: {error.strerror}")
            return None
        try:
            with _held_still(descriptor, self._directory) as held:
                facts = self._verify(held, digest)
                self._used.add(path)
                return facts, action(f"{_DESCRIPTOR_DIRECTORY}/{held}")
        except (_DoubtError, IntegrityError, ComponentError, WasmtimeError, OSError) as doubt:
            self._discard(path, str(doubt))
            return None
        finally:
            os.close(descriptor)

    @contextmanager
    def writer(self) -> Iterator[ArtefactWriter]:
        """A temporary file for a new artefact; removed unless it is committed.

        Raises:
            EngineError: The directory cannot be written to.
        """
        try:
            descriptor, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=self._directory)
        except OSError as error:
            raise EngineError(
                f"compiled components cannot be stored: {error.strerror}",
                code="engine.cache",
                hint="make the engine's cache directory writable, or free some space",
            ) from error
        writer = ArtefactWriter(self, descriptor, Path(name))
        try:
            yield writer
        finally:
            os.close(descriptor)
            with suppress(FileNotFoundError):
                Path(name).unlink()

    def seal(self, writer: ArtefactWriter, facts: ComponentFacts) -> None:
        """Append metadata and seal to a written artefact and give it its name, atomically.

        Raises:
            ComponentError: `engine.component.compiler-crashed`: nothing was written.
            OSError: It could not be kept.
        """
        metadata = json.dumps({"fingerprint": self._fingerprint, "facts": facts.to_json()})
        descriptor = writer.descriptor
        size = os.fstat(descriptor).st_size
        if size == 0:
            raise ComponentError(
                "the compiler produced nothing", code="engine.component.compiler-crashed"
            )
        description = seal.describe(size, metadata.encode())
        os.pwrite(descriptor, description, size)
        size += len(description)
        with _mapped(descriptor, size) as view:
            end = seal.seal(view, key=self._key)
        os.pwrite(descriptor, end, size)
        os.fsync(descriptor)
        target = self.path_of(facts.report.digest)
        writer.path.rename(target)
        _sync_directory(self._directory)
        self._remove_outdated(facts.report.digest, keep=target)

    def forget(self, digest: str) -> None:
        """Remove every artefact of a component; those that are mapped stay usable."""
        if _DIGEST.fullmatch(digest):
            for path in self._directory.glob(f"{digest}-*{_SUFFIX}"):
                self._used.discard(path)
                with suppress(OSError):
                    path.unlink()

    def tidy(self) -> None:
        """Note what this process has used; remove what nobody has used for a month.

        Capsules of a project are compiled into the same cache, and no list says where all the
        projects are: only time tells what is of no use any more.
        """
        oldest = time.time() - UNUSED_AGE_S
        for path in self._directory.glob(f"*{_SUFFIX}"):
            with suppress(OSError):
                if path in self._used:
                    os.utime(path, follow_symlinks=False)
                elif path.lstat().st_mtime < oldest:
                    path.unlink()

    def _verify(self, descriptor: int, digest: str) -> ComponentFacts:
        size = os.fstat(descriptor).st_size
        if size == 0:
            raise _DoubtError("it is empty")
        with _mapped(descriptor, size) as view:
            parts = seal.verify(view, key=self._key)
        metadata = json.loads(parts.metadata)
        if metadata["fingerprint"] != self._fingerprint:
            raise _DoubtError("it was made for another machine or release")
        facts = facts_from_json(metadata["facts"])
        if facts.report.digest != digest:
            raise _DoubtError("it was made from another component")
        return facts

    def _discard(self, path: Path, why: str) -> None:
        _log.warning("compiled component %s is not used: %s", path.name, why)
        with suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _remove_leftovers(self) -> None:
        """Remove temporary files of processes that died; those of living ones are younger."""
        oldest = time.time() - _LEFTOVER_AGE_S
        for path in self._directory.glob(f"{_TEMPORARY}*"):
            with suppress(OSError):
                if path.lstat().st_mtime < oldest:
                    path.unlink()

    def _remove_outdated(self, digest: str, *, keep: Path) -> None:
        for path in self._directory.glob(f"{digest}-*{_SUFFIX}"):
            if path != keep:
                with suppress(OSError):
                    path.unlink()


class ArtefactWriter(NamedTuple):
    """A file that is being written.

    Attributes:
        cache: Where it belongs.
        descriptor: Open for reading and writing; nobody else has it once the child is reaped.
        path: Its temporary name.
    """

    cache: ArtefactCache
    descriptor: int
    path: Path

    def commit(self, facts: ComponentFacts) -> None:
        """Seal it and put it in place."""
        self.cache.seal(self, facts)


def _check_directory(directory: Path) -> None:
    directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise IntegrityError(
            "the engine's cache directory is a link or belongs to another user",
            code="integrity.cache-directory",
            hint=f"remove {directory.name} from the cache; it is made again",
        )
    if stat.S_IMODE(status.st_mode) != _DIRECTORY_MODE:
        directory.chmod(_DIRECTORY_MODE)


@contextmanager
def _held_still(descriptor: int, directory: Path) -> Iterator[int]:
    """A descriptor of the same bytes that nobody can change until the block ends.

    Raises:
        _DoubtError: It is not a private regular file.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise _DoubtError("it is not a regular file")
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) != _FILE_MODE:
        raise _DoubtError("others could have written to it")
    if status.st_nlink != 1:
        raise _DoubtError("it has another name")
    if status.st_size > MAX_ARTEFACT_BYTES:
        raise _DoubtError("it is larger than any compiled component")
    if _take_lease(descriptor):
        try:
            yield descriptor
        finally:
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return
    with tempfile.TemporaryFile(dir=directory) as copy, os.fdopen(os.dup(descriptor), "rb") as file:
        shutil.copyfileobj(file, copy, _COPY_CHUNK)
        copy.flush()
        yield copy.fileno()


def _take_lease(descriptor: int) -> bool:
    """Keep writers away from an open file; False where that is not possible now."""
    if not _HAS_LEASES:
        return False
    try:
        # A writer who has to wait makes the system signal us; the default signal would end us.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        return False
    return True


@contextmanager
def _mapped(descriptor: int, size: int) -> Iterator[memoryview]:
    """The file's bytes, mapped privately and read-only; the file must not shrink meanwhile."""
    mapping = mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    view = memoryview(mapping)
    try:
        yield view
    finally:
        view.release()
        with suppress(BufferError):  # a traceback may still hold a part of it
            mapping.close()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
