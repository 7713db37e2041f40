"""From a component file to its facts and its compiled form, through the cache.

Trusted with identity: what is compiled, what is loaded and what the caller asked for have the same
BLAKE3 hash, or an error says so. A sealed artefact of the recorded hash is that component, so the
file itself is read only when it has to be compiled. It is then opened once; the descriptor is
hashed here and read by the compiling child, which reports the hash of what it read.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

import blake3
from wasmtime import Engine
from wasmtime.component import Component

from astrid_engine_wasm import scan
from astrid_engine_wasm.aot import ArtefactCache
from astrid_engine_wasm.compiler import Compiler
from astrid_engine_wasm.report import ComponentFacts
from astrid_hookspecs.engines import Progress
from astrid_hookspecs.errors import ComponentError, IntegrityError

MAX_COMPONENT_BYTES: Final = 256 * 1024 * 1024
"""Larger files are refused before anything reads them into memory."""

_HASH: Final = re.compile(r"[0-9a-fA-F]{64}")
_CHUNK: Final = 1 << 18
_HEAD_BYTES: Final = 1024
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


class Preparer:
    """Makes sure that components are compiled. Every method may be called from any thread.

    Args:
        cache: Where artefacts are kept.
        compiler: Compiles what the cache lacks.
    """

    def __init__(self, cache: ArtefactCache, compiler: Compiler) -> None:
        self._cache = cache
        self._compiler = compiler
        self._locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._locks_lock = threading.Lock()

    def facts(self, path: Path, *, progress: Progress | None = None) -> ComponentFacts:
        """What a component is; compiles it when the cache has no usable artefact.

        Raises:
            ComponentError: It cannot be loaded; says why and what to do.
        """
        with _opened(path) as source:
            digest = _digest(source)
            with self._exclusive(digest):
                known = self._cache.facts(digest)
                if known is not None:
                    return known
                return self._compile(source, digest, path.name, progress)

    def load(
        self, engine: Engine, path: Path, *, expected: str | None
    ) -> tuple[ComponentFacts, Component]:
        """The compiled form of a component.

        Args:
            engine: Will run it.
            path: The component file.
            expected: Its hash as recorded at install.

        Raises:
            IntegrityError: The file is not the one that was installed, or nothing was recorded.
            ComponentError: It cannot be loaded.
        """
        digest = _recorded(expected, path.name)
        with self._exclusive(digest):
            found = self._cache.load(engine, digest)
            if found is not None:
                return found
            with _opened(path) as source:
                _check_expected(_digest(source), digest, path.name)
                self._compile(source, digest, path.name, None)
            found = self._cache.load(engine, digest)
            if found is not None:
                return found
        raise ComponentError(
            "the freshly compiled form of the component cannot be loaded",
            code="engine.component.cache",
            hint="something keeps changing the engine's cache directory, or the disk is failing",
        )

    def _compile(
        self, source: int, digest: str, name: str, progress: Progress | None
    ) -> ComponentFacts:
        step = f"compiling {name}"
        size = os.fstat(source).st_size
        if progress is not None:
            progress(step, 0.0)
        on_fraction = None if progress is None else lambda done: progress(step, done)
        with self._cache.writer() as writer:
            facts = self._compiler.compile(
                source, writer.descriptor, size_bytes=size, on_fraction=on_fraction
            )
            if facts.report.digest != digest:
                raise ComponentError(
                    "the component changed while it was read",
                    code="engine.component.changed",
                    hint="try again when nothing writes to it",
                )
            writer.commit(facts)
        if progress is not None:
            progress(step, 1.0)
        return facts

    @contextmanager
    def _exclusive(self, digest: str) -> Iterator[None]:
        """One thread at a time per component, so that nothing is compiled twice."""
        with self._locks_lock:
            lock = self._locks.get(digest)
            if lock is None:
                lock = self._locks[digest] = threading.Lock()
        with lock:
            yield


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A descriptor of a regular file that begins like a component.

    Raises:
        ComponentError: It cannot be read, is too large or is no component.
    """
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
    except OSError as error:
        raise ComponentError(
            f"the component {path.name} cannot be read: {error.strerror}",
            code="engine.component.unreadable",
            hint="check the path and the file's permissions",
        ) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ComponentError(
                f"{path.name} is not a regular file", code="engine.component.unreadable"
            )
        if status.st_size > MAX_COMPONENT_BYTES:
            raise ComponentError(
                f"the component has {status.st_size} bytes, more than {MAX_COMPONENT_BYTES}",
                code="engine.component.too-large",
                hint="strip debug information from it",
            )
        scan.check_is_component(os.pread(descriptor, _HEAD_BYTES, 0))
        yield descriptor
    finally:
        os.close(descriptor)


def _digest(descriptor: int) -> str:
    hasher = blake3.blake3()
    buffer = memoryview(bytearray(_CHUNK))  # one for all reads: fresh memory costs most
    os.lseek(descriptor, 0, os.SEEK_SET)
    while size := os.readv(descriptor, [buffer]):
        hasher.update(buffer[:size])
    return hasher.hexdigest()


def _recorded(expected: str | None, name: str) -> str:
    """The hash recorded at install. Spec: capsules-and-bus 5.3 step 8."""
    if expected is None:
        raise IntegrityError(
            f"no BLAKE3 hash is recorded for {name}",
            code="integrity.no-hash",
            hint="install the capsule again",
        )
    if not _HASH.fullmatch(expected):
        raise IntegrityError(
            f"{expected[:80]!r} is not a BLAKE3 hash",
            code="integrity.component",
            hint="install the capsule again",
        )
    return expected.lower()


def _check_expected(digest: str, expected: str, name: str) -> None:
    if digest != expected:
        raise IntegrityError(
            f"{name} is not the component that was installed: its BLAKE3 hash is {digest}, "
            f"recorded is {expected[:64]}",
            code="integrity.component",
            hint="install the capsule again, and find out what changed the file",
        )
