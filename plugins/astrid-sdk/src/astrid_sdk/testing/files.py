"""File functions of the fake host, over a tree in memory.

Refuses what the kernel refuses: paths, entries of `fs_read` and `fs_write`, limits. It has no
symbolic links and no storage limit.

Spec: host-abi 5.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import ClassVar, Final, NamedTuple, Protocol, Self, TypeAlias

from astrid_sdk.fs_paths import PARENT, Place, covers
from astrid_sdk.testing.cases import require
from astrid_sdk.testing.tree import Content, FileTree, parse_path

MAX_FILE_BYTES: Final = 10 * 1024 * 1024
MAX_TRANSFER_BYTES: Final = 1024 * 1024
MAX_ENTRIES: Final = 4096
MAX_HANDLES: Final = 16


class FileType(enum.Enum):
    """As the generated enum."""

    TYPE_UNKNOWN = 0
    REGULAR = 1
    DIRECTORY = 2
    SYMLINK = 3


class OpenMode(enum.Enum):
    """As the generated enum."""

    READ = 0
    WRITE = 1
    APPEND = 2
    READ_WRITE = 3


_Mode: TypeAlias = OpenMode


class Datetime(NamedTuple):
    """As the generated record."""

    seconds: int
    nanoseconds: int


class FileStat(NamedTuple):
    """As the generated record."""

    size: int
    kind: FileType
    mode: int
    modified: Datetime | None = None
    created: Datetime | None = None
    accessed: Datetime | None = None


class FileOwner(Protocol):
    """What the files need to know of their host."""

    files: FileTree
    fs_read: list[str]
    fs_write: list[str]


class FakeFiles:
    """Functions and types of `astrid:fs/host`."""

    OpenMode: ClassVar[type[enum.Enum]] = OpenMode

    def __init__(self, owner: FileOwner) -> None:
        self._owner = owner
        self.open_handles = 0

    def fs_open(self, path: str, mode: _Mode) -> FakeHandle:
        """Open a file."""
        wants = {OpenMode.READ: "r", OpenMode.READ_WRITE: "rw"}.get(mode, "w")
        place = self._allowed(path, wants)
        require(self.open_handles < MAX_HANDLES, case="quota")
        if mode in (OpenMode.WRITE, OpenMode.APPEND) and place not in self._nodes:
            self._need_directory(place.parent)
            self._nodes[place] = Content()
        content = self._file(place)
        if mode is OpenMode.WRITE:
            content.data.clear()
        self.open_handles += 1
        return FakeHandle(content, mode, self._closed)

    def fs_exists(self, path: str) -> bool:
        """Whether there is something."""
        return self._allowed(path, "r") in self._nodes

    def fs_mkdir(self, path: str) -> None:
        """Make one directory."""
        place = self._allowed(path, "w")
        require(place not in self._nodes, case="already-exists")
        self._need_directory(place.parent)
        self._nodes[place] = None

    def fs_mkdir_all(self, path: str) -> None:
        """Make a directory and those above it."""
        place = self._allowed(path, "w")
        for depth in range(len(place.parts) + 1):
            above = Place(place.scheme, place.parts[:depth])
            require(self._nodes.get(above) is None, case="already-exists")
        self._owner.files.mkdir(place.text)

    def fs_readdir(self, path: str) -> list[str]:
        """Names, sorted."""
        place = self._allowed(path, "r")
        self._need_directory(place)
        names = self._owner.files.children(place)
        require(len(names) <= MAX_ENTRIES, case="too-large")
        return names

    def fs_stat(self, path: str) -> FileStat:
        """Metadata."""
        place = self._allowed(path, "r")
        self._need(place)
        content = self._nodes[place]
        if content is None:
            return FileStat(0, FileType.DIRECTORY, 0o755)
        return FileStat(len(content.data), FileType.REGULAR, 0o644)

    def fs_stat_symlink(self, path: str) -> FileStat:
        """Metadata; there are no links."""
        return self.fs_stat(path)

    def fs_unlink(self, path: str) -> None:
        """Remove a file."""
        place = self._allowed(path, "w")
        self._file(place)
        del self._nodes[place]

    def read_file(self, path: str) -> bytes:
        """The whole content."""
        content = self._file(self._allowed(path, "r"))
        require(len(content.data) <= MAX_FILE_BYTES, case="too-large")
        return bytes(content.data)

    def write_file(self, path: str, content: bytes) -> None:
        """Replace the whole content."""
        require(len(content) <= MAX_FILE_BYTES, case="too-large")
        self._target(path).data[:] = content

    def fs_append(self, path: str, content: bytes) -> None:
        """Add to the end."""
        require(len(content) <= MAX_FILE_BYTES, case="too-large")
        self._target(path).data.extend(content)

    def fs_copy(self, src: str, dst: str) -> None:
        """Copy content."""
        source, target = self._all_allowed((src, "r"), (dst, "w"))
        data = bytes(self._file(source).data)
        self._need_directory(target.parent)
        self._create(target).data[:] = data

    def fs_rename(self, src: str, dst: str) -> None:
        """Move a file or directory."""
        source, target = self._all_allowed((src, "w"), (dst, "w"))
        require(not source.is_root and not target.is_root, case="access")
        require(source.scheme == target.scheme, case="cross-vfs")
        self._need(source)
        require(not target.is_within(source) or target == source, case="invalid-path")
        self._need_directory(target.parent)
        if target in self._nodes and target != source:
            self._make_way(source, target)
        depth = len(source.parts)
        moved = [place for place in self._nodes if place.is_within(source)]
        for place in moved:
            new = Place(target.scheme, target.parts + place.parts[depth:])
            self._nodes[new] = self._nodes.pop(place)

    def fs_remove_dir_all(self, path: str) -> int:
        """Remove a directory with everything in it."""
        place = self._allowed(path, "w")
        require(not place.is_root, case="access")
        self._need_directory(place)
        gone = [node for node in self._nodes if node.is_within(place)]
        for node in gone:
            del self._nodes[node]
        return len(gone)

    def fs_canonicalize(self, path: str) -> str:
        """The path with its scheme."""
        place = self._allowed(path, "r")
        self._need(place)
        return place.text

    def fs_read_link(self, path: str) -> str:
        """There are no links."""
        self._need(self._allowed(path, "r"))
        require(False, case="invalid-path")
        return ""

    def fs_hard_link(self, src: str, link_path: str) -> None:
        """Give a file a second name."""
        source, target = self._all_allowed((src, "w"), (link_path, "w"))
        content = self._file(source)
        require(source.scheme == target.scheme, case="cross-vfs")
        require(target not in self._nodes, case="already-exists")
        self._need_directory(target.parent)
        self._nodes[target] = content

    @property
    def _nodes(self) -> dict[Place, Content | None]:
        return self._owner.files.nodes

    def _closed(self) -> None:
        self.open_handles -= 1

    def _allowed(self, path: str, wants: str) -> Place:
        return self._all_allowed((path, wants))[0]

    def _all_allowed(self, *asked: tuple[str, str]) -> list[Place]:
        """Read all paths, see where they lead, ask the manifest, and then say what is missing."""
        paths = [parse_path(path) for path, _ in asked]
        found = [self._resolved(path) for path in paths]
        for (_, wants), (place, _) in zip(asked, found, strict=True):
            self._check_lists(place, wants)
        for _, problem in found:
            require(problem is None, case=problem or "")
        return [place for place, _ in found]

    def _resolved(self, asked: Place) -> tuple[Place, str | None]:
        """Where a path leads; `..` behind what is missing means nothing."""
        done: list[str] = []
        for at, part in enumerate(asked.parts):
            if part == PARENT:
                require(bool(done), case="boundary-escape")
                done.pop()
                continue
            done.append(part)
            place, rest = Place(asked.scheme, tuple(done)), asked.parts[at + 1 :]
            if PARENT in rest and self._nodes.get(place, Content()) is not None:
                case = "not-directory" if place in self._nodes else "not-found"
                return place, case
        return Place(asked.scheme, tuple(done)), None

    def _check_lists(self, place: Place, wants: str) -> None:
        require(not place.is_reserved, case="capability-denied")
        for want, entries in (("r", self._owner.fs_read), ("w", self._owner.fs_write)):
            if want in wants:
                granted = any(covers(entry, place) for entry in entries)
                require(granted, case="capability-denied")

    def _make_way(self, source: Place, target: Place) -> None:
        """What a rename replaces."""
        is_directory = self._nodes[target] is None
        if self._nodes[source] is None:
            require(is_directory, case="not-directory")
            require(not self._owner.files.children(target), case="not-empty")
        else:
            require(not is_directory, case="is-directory")
        del self._nodes[target]

    def _need(self, place: Place) -> None:
        if place not in self._nodes:
            self._need_directory(place.parent)
            require(False, case="not-found")

    def _need_directory(self, place: Place) -> None:
        for depth in range(len(place.parts) + 1):
            above = Place(place.scheme, place.parts[:depth])
            require(above in self._nodes, case="not-found")
            require(self._nodes[above] is None, case="not-directory")

    def _file(self, place: Place) -> Content:
        self._need(place)
        content = self._nodes[place]
        require(content is not None, case="is-directory")
        return content or Content()

    def _target(self, path: str) -> Content:
        place = self._allowed(path, "w")
        if place.scheme == "workspace":
            for depth in range(len(place.parts)):
                above = Place(place.scheme, place.parts[:depth])
                require(self._nodes.get(above) is None, case="not-directory")
            self._owner.files.mkdir(place.parent.text)
        self._need_directory(place.parent)
        return self._create(place)

    def _create(self, place: Place) -> Content:
        if place not in self._nodes:
            self._nodes[place] = Content()
        return self._file(place)


class FakeHandle:
    """As the generated resource `file-handle`."""

    def __init__(self, content: Content, mode: OpenMode, closed: Callable[[], None]) -> None:
        self._content = content
        self._mode = mode
        self._on_close: Callable[[], None] | None = closed

    def read_at(self, offset: int, max_bytes: int) -> bytes:
        """Read at a position."""
        require(self._mode in (OpenMode.READ, OpenMode.READ_WRITE), case="access")
        size = min(max_bytes, MAX_TRANSFER_BYTES)
        return bytes(self._content.data[offset : offset + size])

    def write_at(self, offset: int, data: bytes) -> int:
        """Write at a position, or at the end."""
        require(self._mode is not OpenMode.READ, case="access")
        require(len(data) <= MAX_TRANSFER_BYTES, case="too-large")
        held = self._content.data
        start = len(held) if self._mode is OpenMode.APPEND else offset
        held.extend(bytes(max(0, start - len(held))))
        held[start : start + len(data)] = data
        return len(data)

    def sync_data(self) -> None:
        """Nothing to do."""

    def sync_all(self) -> None:
        """Nothing to do."""

    def stat(self) -> FileStat:
        """Metadata."""
        return FileStat(len(self._content.data), FileType.REGULAR, 0o644)

    def set_len(self, size: int) -> None:
        """Cut or extend."""
        require(self._mode is not OpenMode.READ, case="access")
        del self._content.data[size:]
        self._content.data.extend(bytes(size - len(self._content.data)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()
