"""The files of the fake host: what a test puts there and looks at."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, MutableMapping
from typing import Final

from astrid_sdk.fs_paths import PARENT, Place, read_path
from astrid_sdk.testing.cases import require

SCHEMES: Final = frozenset({"workspace", "home", "tmp"})
MAX_PATH_BYTES: Final = 4096
MAX_NAME_BYTES: Final = 255
_TEMPORARY: Final = ".astrid-tmp-"


def parse_path(text: str) -> Place:
    """Read a path as the host does; `..` stays in it.

    Raises:
        WitCaseError: `invalid-path`.
    """
    plain = not any(unicodedata.category(char) in ("Cc", "Cs") for char in text)
    require(plain and unicodedata.is_normalized("NFC", text), case="invalid-path")
    require(len(text.encode()) <= MAX_PATH_BYTES, case="invalid-path")
    asked = read_path(text)
    require(asked.scheme in SCHEMES, case="invalid-path")
    for part in asked.parts:
        is_kept = part.startswith(_TEMPORARY)
        require(len(part.encode()) <= MAX_NAME_BYTES and not is_kept, case="invalid-path")
    return asked


class Content:
    """A file's bytes; two names of one file share it."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)


class FileTree(MutableMapping[str, bytes]):
    """Files by path, as a capsule writes paths: `tree["notes/a.txt"] = b"..."`.

    Setting a file makes the directories above it; `mkdir` makes one by itself.
    """

    def __init__(self) -> None:
        self.nodes: dict[Place, Content | None] = {
            Place(scheme, ()): None for scheme in ("workspace", "home", "tmp")
        }

    def mkdir(self, path: str) -> None:
        """Make a directory and those above it."""
        place = _named(path)
        for depth in range(1, len(place.parts) + 1):
            self.nodes.setdefault(Place(place.scheme, place.parts[:depth]), None)

    def children(self, place: Place) -> list[str]:
        """Names directly in a directory, sorted by their bytes."""
        depth = len(place.parts)
        inside = (node for node in self.nodes if len(node.parts) == depth + 1)
        return sorted((node.parts[-1] for node in inside if node.is_within(place)), key=str.encode)

    def __getitem__(self, path: str) -> bytes:
        content = self.nodes.get(_named(path))
        if content is None:
            raise KeyError(path)
        return bytes(content.data)

    def __setitem__(self, path: str, data: bytes) -> None:
        place = _named(path)
        self.mkdir(place.parent.text)
        self.nodes[place] = Content(data)

    def __delitem__(self, path: str) -> None:
        place = _named(path)
        if self.nodes.get(place) is None:
            raise KeyError(path)
        del self.nodes[place]

    def __iter__(self) -> Iterator[str]:
        for place, content in sorted(self.nodes.items()):
            if content is not None:
                yield place.text.removeprefix("workspace://")

    def __len__(self) -> int:
        return sum(content is not None for content in self.nodes.values())


def _named(path: str) -> Place:
    place = parse_path(path)
    if PARENT in place.parts:
        raise ValueError(f"name files without '..': {path!r}")
    return place
