"""What a confined process sees of the file system: the request's trees over one another.

Trusted with precedence: the deeper path wins, so a hidden folder inside the working directory stays
hidden, and a working directory below a hidden folder can be used. The top is read-only.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from astrid_core.builtin.sandbox.places import (
    RESOLVER,
    SCRATCH,
    Sight,
    hidden_places,
    picked_places,
)
from astrid_hookspecs.errors import SandboxError
from astrid_hookspecs.sandboxes import SandboxRequest

_RANK: Final[dict[Sight, int]] = {"link": 0, "read": 1, "write": 2, "scratch": 3, "hidden": 4}
"""Of two statements about one place, the later one here counts."""


class Layer(NamedTuple):
    """How a tree is seen, down to the next layer inside it."""

    path: Path
    sight: Sight


def layers(request: SandboxRequest) -> list[Layer]:
    """The trees of a request, outer before inner; without those that change nothing.

    Raises:
        SandboxError: `sandbox.unsupported`: a tree does not exist, is not absolute, or the working
            directory is itself to be hidden.
    """
    wanted: dict[Path, Sight] = {}

    def add(paths: Iterable[Path], sight: Sight) -> None:
        for path in paths:
            if _RANK[sight] >= _RANK[wanted.get(path, "link")]:
                wanted[path] = sight

    add((place for place in SCRATCH if place.is_dir() and not place.is_symlink()), "scratch")
    cwd = _tree(request.cwd)
    writable = [_tree(path) for path in request.writable]
    readable = [_tree(path) for path in request.readable]
    (writable if request.writes_cwd else readable).append(cwd)
    if request.network:
        readable += [place for place in RESOLVER if place.exists()]
    add(readable, "read")
    add(writable, "write")
    for path, sight in picked_places(leave=wanted):
        add([path], sight)
    hidden = hidden_places(request.hidden)
    add(hidden, "hidden")
    if any(path in hidden for path in (*writable, *readable)):
        raise SandboxError(
            "a tree that the process is to use is one of those that no process may see",
            code="sandbox.unsupported",
            hint="work in a directory that holds neither credentials nor the runtime home",
        )
    ordered = sorted(wanted.items(), key=lambda item: (len(item[0].parts), item[0]))
    kept: list[Layer] = []
    for path, sight in ordered:
        if sight != sight_of(path, kept):
            kept.append(Layer(path, sight))
    return kept


def sight_of(path: Path, stack: Iterable[Layer]) -> Sight:
    """How a path is seen: as the innermost layer around it says.

    Args:
        path: Absolute, links resolved.
        stack: Outer before inner.
    """
    found: Sight = "read"
    for layer in stack:
        if is_below(path, layer.path):
            found = layer.sight
    return found


def is_below(path: Path, outer: Path) -> bool:
    """Whether a path is another one or below it; as `is_relative_to`, which takes ten times longer.

    Both are absolute and without links.
    """
    inner_text, outer_text = str(path), str(outer)
    return inner_text == outer_text or inner_text.startswith(f"{outer_text.rstrip('/')}/")


def _tree(path: Path) -> Path:
    if not path.is_absolute():
        raise SandboxError(
            "a tree of a confined process has to be an absolute path", code="sandbox.unsupported"
        )
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise SandboxError(
            "a tree of a confined process does not exist", code="sandbox.unsupported"
        ) from error
