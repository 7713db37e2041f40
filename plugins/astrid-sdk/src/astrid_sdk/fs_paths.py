"""Paths as capsules write them, and the entries of a manifest that cover them. Looks at no file.

The kernel decides; this is what advice to authors and the fake host are made of.

Spec: host-abi 5.1, 5.2.
"""

from __future__ import annotations

import json
from typing import Final, NamedTuple

WORKSPACE: Final = "workspace"
PARENT: Final = ".."

_TMP: Final = "/tmp"  # noqa: S108 - the guest's, not the host's
_TMP_IN_HOME: Final = (".local", "tmp")
_PRIVATE: Final = frozenset({".config", ".local"})


class Place(NamedTuple):
    """A root and the way from it.

    Attributes:
        scheme: `workspace`, `home`, `tmp`, or the name of a configured file system.
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

    @property
    def in_home(self) -> Place:
        """The same place, by way of the home if that holds it."""
        if self.scheme == "tmp":
            return Place("home", (*_TMP_IN_HOME, *self.parts))
        return self

    @property
    def is_root(self) -> bool:
        """Whether it is a root, also when reached through another one."""
        return not self.parts or (self.scheme == "home" and self.parts == _TMP_IN_HOME)

    @property
    def is_reserved(self) -> bool:
        """Whether the kernel keeps it for itself, whatever a manifest says."""
        scheme, parts = self.in_home
        is_private = scheme == "home" and parts[:1] and parts[0].casefold() in _PRIVATE
        return bool(is_private) and parts[: len(_TMP_IN_HOME)] != _TMP_IN_HOME

    def is_within(self, top: Place) -> bool:
        """Whether it is `top` or below it."""
        return self.scheme == top.scheme and self.parts[: len(top.parts)] == top.parts


def read_path(text: str) -> Place:
    """Take a path apart. Unknown schemes and `..` stay in it."""
    name, mark, rest = text.partition("://")
    scheme = WORKSPACE
    if mark:
        scheme = WORKSPACE if name == "cwd" else name
    elif text == _TMP or text.startswith(f"{_TMP}/"):
        scheme, rest = "tmp", text.removeprefix(_TMP)
    else:
        rest = text
    return Place(scheme, tuple(part for part in rest.split("/") if part not in ("", ".")))


def simplify(place: Place) -> Place:
    """The place without `..`, as if there were no links; one that leads out ends at the root."""
    parts: list[str] = []
    for part in place.parts:
        if part != PARENT:
            parts.append(part)
        elif parts:
            parts.pop()
    return Place(place.scheme, tuple(parts))


def covers(entry: str, place: Place) -> bool:
    """Whether an entry of `fs_read` or `fs_write` covers a place.

    A literal path of the host never does: what it stands for is not known here.
    """
    if entry == "*":
        return place.scheme == WORKSPACE
    top = read_path(entry)
    if top.scheme == WORKSPACE and "://" not in entry:
        return False
    return place.in_home.is_within(top.in_home)


def advice(wants: tuple[tuple[str, str], ...]) -> str:
    """What an author has to write into Capsule.toml for an operation that was refused.

    Args:
        wants: Pairs of `fs_read` or `fs_write` and a path.
    """
    entries = []
    for listed, path in wants:
        place = simplify(read_path(path))
        if place.is_reserved:
            return f"{place.text} is the kernel's own; no entry of Capsule.toml opens it"
        entries.append(f"{json.dumps(place.text, ensure_ascii=False)} in {listed}")
    return f"needs {' and '.join(entries)} below [capabilities] of Capsule.toml"
