"""Checks for hostile paths and nodes: every operation, and a side door to see what happened."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from astrid_conformance.check import require, require_equal
from astrid_conformance.checks.vfs_content import MODES
from astrid_conformance.checks.vfs_doors import SpecialKind
from astrid_conformance.checks.vfs_subject import (
    VFS_BACKEND,
    VfsSubject,
    names,
    require_code,
    require_kind,
    require_no_path,
    require_refused,
    tree,
    write,
)
from astrid_hookspecs.vfs import VfsDirectory
from astrid_hookspecs.vfs_paths import MAX_NAME_BYTES, MAX_PATH_BYTES

_OUTSIDE: Final = (
    "..",
    "../secret",
    "../root/mine",
    "a/..",
    "a/../..",
    "a/../../secret",
    "a/../mine",
    "./../secret",
    "/",
    "//",
    "/mine",
    "/secret",
    "/etc/hostname",
    "//etc/hostname",
)
_MALFORMED: Final = (
    ".",
    "./mine",
    "a/.",
    "a/./b",
    "mine/",
    "a/",
    "a//b",
    "\0",
    "mine\0",
    "mine\0.txt",
    "a/\0/b",
    "n" * (MAX_NAME_BYTES + 1),
    "a/" + "é" * (MAX_NAME_BYTES // 2 + 1),
    "/".join(["d" * 200] * (MAX_PATH_BYTES // 200 + 1)),
    "x/" * MAX_PATH_BYTES + "x",
    "\udcff",
    "a/\ud800b",
)
_KINDS: Final[tuple[SpecialKind, ...]] = ("fifo", "socket")


def operations(root: VfsDirectory, path: str) -> dict[str, Callable[[], object]]:
    """Every operation on a path; the file `mine` takes part in those that need two."""
    opens = {f"open to {mode}": partial(root.open, path, mode) for mode in MODES}
    return {
        **opens,
        "open_directory": partial(root.open_directory, path),
        "stat": partial(root.stat, path),
        "names": partial(root.names, path, after=None, limit=9),
        "mkdir": partial(root.mkdir, path),
        "unlink": partial(root.unlink, path),
        "conditional unlink": partial(root.unlink, path, only_if=lambda _: True),
        "rmdir": partial(root.rmdir, path),
        "rename from": partial(root.rename, path, "other"),
        "rename to": partial(root.rename, "mine", path),
        "replace": partial(root.replace, path, [b"replaced"]),
    }


def link_operations(root: VfsDirectory, path: str) -> dict[str, Callable[[], object]]:
    """The operations that a backend may not have."""
    return {
        "link from": partial(root.link, path, "other"),
        "link to": partial(root.link, "mine", path),
        "readlink": partial(root.readlink, path),
        "symlink": partial(root.symlink, "mine", path),
    }


@VFS_BACKEND.required
def no_path_leads_outside(subject: VfsSubject) -> None:
    """Absolute paths and `..` are refused by every operation, also where they lead back inside."""
    root = subject.root
    root.mkdir("a")
    write(root, "mine", b"x")
    outside = subject.side_door.outside() if subject.side_door is not None else None
    for path in _OUTSIDE:
        for name, call in operations(root, path).items():
            require_no_path(call, f"{name} {path!r}")
        for name, call in link_operations(root, path).items():
            require_refused(call, f"{name} {path!r}")
    require_equal(tree(root), {"a": "directory", "mine": b"x"}, "everything afterwards")
    if subject.side_door is not None:
        require_equal(subject.side_door.outside(), outside, "what is outside the root")


@VFS_BACKEND.required
def malformed_paths_are_refused(subject: VfsSubject) -> None:
    """Empty parts, `.`, NUL, over-long paths and text that is not UTF-8 are `vfs.invalid-path`."""
    root = subject.root
    root.mkdir("a")
    write(root, "mine", b"x")
    for path in _MALFORMED:
        for name, call in operations(root, path).items():
            require_code("invalid-path", call, f"{name} {path[:40]!r}")
        for name, call in link_operations(root, path).items():
            require_refused(call, f"{name} {path[:40]!r}")
    require_equal(tree(root), {"a": "directory", "mine": b"x"}, "everything afterwards")


@VFS_BACKEND.required
def links_at_the_end_are_not_followed(subject: VfsSubject) -> None:
    """A symbolic link at the end of a path is `vfs.link`, wherever it leads."""
    root = subject.root
    write(root, "mine", b"x")
    links = {"to-file": "mine", "to-secret": "../secret", "to-above": "..", "loop": "loop"}
    links |= {"nowhere": "absent", "absolute": "/etc/hostname", "to-here": "."}
    if not all(subject.plant_link(path, target) for path, target in links.items()):
        return  # nobody can make links here
    outside = subject.side_door.outside() if subject.side_door is not None else None
    for path in links:
        for name, call in operations(root, path).items():
            if name.startswith("open") or name in {"names", "replace"}:
                require_code("link", call, f"{name} of the link {path}")
        require_refused(partial(root.mkdir, path), f"mkdir of the link {path}")
        require_refused(partial(root.rmdir, path), f"rmdir of the link {path}")
        require_refused(partial(root.link, path, "other"), f"link of the link {path}")
        require_kind(root.stat(path), "symlink", f"the link {path}")
    require_equal(names(root), sorted([*links, "mine"]), "names afterwards")
    require_equal(tree(root)["mine"], b"x", "the file that a link leads to")
    if subject.side_door is not None:
        require_equal(subject.side_door.outside(), outside, "what is outside the root")


@VFS_BACKEND.required
def links_on_the_way_are_not_followed(subject: VfsSubject) -> None:
    """A symbolic link on the way is `vfs.link` for every operation, wherever it leads."""
    root = subject.root
    root.mkdir("a")
    root.mkdir("a/directory")
    write(root, "a/file", b"x")
    write(root, "mine", b"y")
    links = {"inside": "a", "outside": "..", "absolute": "/", "nowhere": "absent", "loop": "loop"}
    if not all(subject.plant_link(path, target) for path, target in links.items()):
        return  # nobody can make links here
    outside = subject.side_door.outside() if subject.side_door is not None else None
    for link in links:
        for below in ("file", "directory", "secret", "new", "directory/new"):
            path = f"{link}/{below}"
            for name, call in operations(root, path).items():
                require_code("link", call, f"{name} {path}")
            for name, call in link_operations(root, path).items():
                require_refused(call, f"{name} {path}")
    found = tree(root)
    kept = {"a": "directory", "a/directory": "directory", "a/file": b"x", "mine": b"y"}
    require_equal(found, {**kept, **dict.fromkeys(links, "symlink")}, "everything afterwards")
    if subject.side_door is not None:
        require_equal(subject.side_door.outside(), outside, "what is outside the root")


@VFS_BACKEND.required
def links_are_removed_and_moved_themselves(subject: VfsSubject) -> None:
    """`unlink` and `rename` of a link concern the link, not where it leads."""
    root = subject.root
    write(root, "mine", b"x")
    write(root, "file", b"y")
    links = {"one": "mine", "two": "mine", "three": "../secret"}
    if not all(subject.plant_link(path, target) for path, target in links.items()):
        return  # nobody can make links here
    outside = subject.side_door.outside() if subject.side_door is not None else None
    root.unlink("one")
    root.rename("two", "moved")
    require_kind(root.stat("moved"), "symlink", "a link that was moved")
    root.rename("file", "three")
    expected = {"mine": b"x", "moved": "symlink", "three": b"y"}
    require_equal(tree(root), expected, "everything afterwards")
    if subject.side_door is not None:
        require_equal(subject.side_door.outside(), outside, "what is outside the root")


@VFS_BACKEND.required
def special_files_never_block(subject: VfsSubject) -> None:
    """Pipes and sockets are described, never opened: `vfs.access`, at once."""
    root = subject.root
    if subject.side_door is None:
        return  # nobody can make them here
    for kind in _KINDS:
        subject.side_door.special(kind, kind)
        require_kind(root.stat(kind), kind, f"a {kind}")
        for mode in MODES:
            require_code("access", partial(root.open, kind, mode), f"open a {kind} to {mode}")
        require_code("access", partial(root.replace, kind, [b"x"]), f"replace a {kind}")
        require_code("not-directory", partial(root.stat, f"{kind}/x"), f"stat below a {kind}")
        require_code("not-directory", partial(root.open_directory, kind), f"a handle of a {kind}")
        require_refused(partial(root.readlink, kind), f"readlink of a {kind}")
    require_equal(names(root), sorted(_KINDS), "names")
    for kind in _KINDS:
        root.unlink(kind)
    require_equal(names(root), [], "names after unlink")


@VFS_BACKEND.required
def refusals_are_typed_and_tell_no_place(subject: VfsSubject) -> None:
    """Errors are of the contract, and name no place on the host."""
    root = subject.root
    root.mkdir("a")
    write(root, "mine", b"x")
    place = subject.side_door.place() if subject.side_door is not None else ""
    for path in ("absent", "mine/below", "a", "../secret", "a\0", "n" * 300, "/etc/hostname"):
        every = {**operations(root, path), **link_operations(root, path)}
        for name in ("open to read-write", "names", "readlink", "link from", "conditional unlink"):
            if (path, name) == ("a", "names"):
                continue  # that works
            error = require_refused(every[name], f"{name} {path[:40]!r}")
            text = f"{error} {error!r} {getattr(error, 'hint', '')}"
            require(not place or place not in text, f"{name} of {path[:40]!r} tells: {text}")
