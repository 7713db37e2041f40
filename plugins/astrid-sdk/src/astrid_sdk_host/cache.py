"""Keep built components, so that building the same thing again takes no time.

An entry is a directory named by the BLAKE3 of everything that went into it. What is read back is
compared with the digest written beside it; an entry that does not match is dropped and built
again. The least recently used entries go when the cache is larger than its bound.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from blake3 import blake3

MAX_BYTES: Final = 1024 * 1024 * 1024
_COMPONENT: Final = "component.wasm"
_RECORD: Final = "record.json"
_DURATIONS: Final = "durations.json"


def cache_directory(environment: Mapping[str, str]) -> Path:
    """Where builds are kept: `$ASTRID_CACHE_DIR`, else `$XDG_CACHE_HOME/astrid`, then `builds`."""
    if chosen := environment.get("ASTRID_CACHE_DIR"):
        return Path(chosen) / "builds"
    base = environment.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "astrid" / "builds"


class Entry(NamedTuple):
    """A kept build: the component and what was recorded with it."""

    component: Path
    record: dict[str, Any]


def digest_file(path: Path) -> str:
    """64 hex digits, BLAKE3 of a file."""
    hasher = blake3()
    hasher.update_mmap(path)
    return hasher.hexdigest()


def digest_tree(hasher: blake3, root: Path, files: Iterable[Path]) -> None:
    """Feed files and their names, in the given order, unambiguously."""
    for path in files:
        name = path.relative_to(root).as_posix().encode()
        data = path.read_bytes()
        hasher.update(len(name).to_bytes(8, "big") + name + len(data).to_bytes(8, "big"))
        hasher.update(data)


class BuildCache:
    """A directory of kept builds. Safe for several processes: entries appear by rename.

    Args:
        directory: Made when it does not exist, mode 0700.
        max_bytes: Bound of the sum of all components.
    """

    def __init__(self, directory: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self._directory = directory
        self._max_bytes = max_bytes

    def find(self, key: str) -> Entry | None:
        """The entry of a key if it is there and whole."""
        place = self._directory / key
        component = place / _COMPONENT
        try:
            record = json.loads((place / _RECORD).read_text(encoding="utf-8"))
            whole = record["digest"] == digest_file(component)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            shutil.rmtree(place, ignore_errors=True)
            return None
        with contextlib.suppress(OSError):
            os.utime(place)  # used just now
        return Entry(component, record)

    def keep(self, key: str, component: Path, record: dict[str, Any]) -> Entry:
        """Store a component (moved, not copied) with its record; the entry of that key after it.

        Raises:
            OSError: The cache cannot be written.
        """
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._evict(component.stat().st_size, keeping=key)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=self._directory))
        try:
            full = {**record, "digest": digest_file(component)}
            (fresh / _RECORD).write_text(json.dumps(full), encoding="utf-8")
            shutil.move(component, fresh / _COMPONENT)
            place = self._directory / key
            try:
                fresh.rename(place)
            except OSError:  # somebody else built the same thing meanwhile
                shutil.rmtree(place, ignore_errors=True)
                fresh.rename(place)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return Entry(place / _COMPONENT, full)

    def duration(self, tool: str, *, default: float) -> float:
        """Seconds that a tool took the last time on this machine."""
        try:
            seconds = float(self._durations()[tool])
        except (KeyError, TypeError, ValueError):
            return default
        return seconds if seconds > 0 else default

    def note_duration(self, tool: str, seconds: float) -> None:
        """Remember how long a tool took; for progress reports only."""
        with contextlib.suppress(OSError):
            text = json.dumps({**self._durations(), tool: round(seconds, 2)})
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            (self._directory / _DURATIONS).write_text(text, encoding="utf-8")

    def _durations(self) -> dict[str, Any]:
        try:
            found = json.loads((self._directory / _DURATIONS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _evict(self, needed: int, *, keeping: str) -> None:
        entries: list[tuple[float, int, Path]] = []
        for place in self._directory.iterdir():
            with contextlib.suppress(OSError):
                size = (place / _COMPONENT).stat().st_size
                entries.append((place.stat().st_mtime, size, place))
        entries.sort()
        total = sum(size for _, size, _ in entries) + needed
        for _, size, place in entries:
            if total <= self._max_bytes:
                return
            if place.name != keeping:
                shutil.rmtree(place, ignore_errors=True)
                total -= size
