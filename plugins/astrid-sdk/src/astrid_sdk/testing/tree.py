"""The files of the fake host: what a test puts there and looks at."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, MutableMapping
from typing import Final, NamedTuple

from astrid_sdk.testing.cases import require

SCHEMES: Final = {"workspace": "workspace", "cwd": "workspace", "home": "home", "tmp": "tmp"}
MAX_PATH_BYTES: Final = 4096


class Place(NamedTuple):
    """Where a path leads.

    Attributes:
        scheme: `workspace`, `home` or `tmp`.
        parts: Names from the root.
    """

    scheme: str
    parts: tuple[str, ...]

    @property
    def text(self) -> str:
        """As the host writes it."""
        return f"{self.scheme}://{'/'.join(self.parts)}"

    @property
    def parent(self) -> Place:
        """The directory it is in; a root is its own."""
        return Place(self.scheme, self.parts[:-1])

    def is_within(self, top: Place) -> bool:
        """Whether it is `top` or below it."""
        return self.scheme == top.scheme and self.parts[: len(top.parts)] == top.parts


def parse_place(text: str) -> Place:
    """Read a path as the host does.

    Raises:
        WitCaseError: `invalid-path`, `boundary-escape`.
    """
    plain = not any(unicodedata.category(char) == "Cc" for char in text)
    require(plain and unicodedata.is_normalized("NFC", text), case="invalid-path")
    require(len(text.encode()) <= MAX_PATH_BYTES, case="invalid-path")
    scheme, rest = "workspace", text
    if "://" in text:
        name, _, rest = text.partition("://")
        require(name in SCHEMES, case="invalid-path")
        scheme = SCHEMES[name]
    elif text == "/tmp" or text.startswith("/tmp/"):  # noqa: S108 - the guest's, not the host's
        scheme, rest = "tmp", text[5:]
    parts: list[str] = []
    for part in rest.split("/"):
        if part == "..":
            require(bool(parts), case="boundary-escape")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return Place(scheme, tuple(parts))


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
        place = parse_place(path)
        for depth in range(1, len(place.parts) + 1):
            self.nodes.setdefault(Place(place.scheme, place.parts[:depth]), None)

    def children(self, place: Place) -> list[str]:
        """Names directly in a directory, sorted by their bytes."""
        depth = len(place.parts)
        inside = (node for node in self.nodes if len(node.parts) == depth + 1)
        return sorted((node.parts[-1] for node in inside if node.is_within(place)), key=str.encode)

    def __getitem__(self, path: str) -> bytes:
        content = self.nodes.get(parse_place(path))
        if content is None:
            raise KeyError(path)
        return bytes(content.data)

    def __setitem__(self, path: str, data: bytes) -> None:
        place = parse_place(path)
        self.mkdir(place.parent.text)
        self.nodes[place] = Content(data)

    def __delitem__(self, path: str) -> None:
        place = parse_place(path)
        if self.nodes.get(place) is None:
            raise KeyError(path)
        del self.nodes[place]

    def __iter__(self) -> Iterator[str]:
        for place, content in sorted(self.nodes.items()):
            if content is not None:
                yield place.text.removeprefix("workspace://")

    def __len__(self) -> int:
        return sum(content is not None for content in self.nodes.values())
