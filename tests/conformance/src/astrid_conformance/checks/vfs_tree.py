"""Checks for the tree: what is missing, directories, renaming, handles that reach less."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from astrid_conformance.check import in_threads, require_equal, require_raises
from astrid_conformance.checks.vfs_content import MODES
from astrid_conformance.checks.vfs_subject import (
    VFS_BACKEND,
    VfsSubject,
    names,
    read,
    require_code,
    require_kind,
    require_no_path,
    require_refused,
    tree,
    write,
)
from astrid_hookspecs.errors import VfsError, VfsNotFoundError


@VFS_BACKEND.required
def absent_is_not_found(subject: VfsSubject) -> None:
    """What is not there raises `VfsNotFoundError`, for every operation."""
    root = subject.root
    write(root, "file", b"x")
    calls: dict[str, Callable[[], object]] = {
        "open": lambda: root.open("absent", "read"),
        "open to change": lambda: root.open("absent", "read-write"),
        "open below": lambda: root.open("absent/file", "write"),
        "append below": lambda: root.open("absent/file", "append"),
        "open_directory": lambda: root.open_directory("absent"),
        "stat": lambda: root.stat("absent"),
        "stat below": lambda: root.stat("absent/file"),
        "names": lambda: root.names("absent", after=None, limit=9),
        "mkdir below": lambda: root.mkdir("absent/directory"),
        "unlink": lambda: root.unlink("absent"),
        "conditional unlink": lambda: root.unlink("absent", only_if=lambda _: True),
        "rmdir": lambda: root.rmdir("absent"),
        "rename": lambda: root.rename("absent", "other"),
        "rename to below": lambda: root.rename("file", "absent/file"),
        "replace below": lambda: root.replace("absent/file", [b"x"]),
    }
    for name, call in calls.items():
        error = require_raises(VfsNotFoundError, call, f"{name} of an absent path")
        require_equal(getattr(error, "code", None), "vfs.not-found", f"code of {name}")
    require_equal(tree(root), {"file": b"x"}, "everything afterwards")


@VFS_BACKEND.required
def files_are_no_directories(subject: VfsSubject) -> None:
    """A file on the way is `vfs.not-directory`."""
    root = subject.root
    write(root, "file", b"x")
    calls: dict[str, Callable[[], object]] = {
        "open": lambda: root.open("file/below", "read"),
        "create": lambda: root.open("file/below", "write"),
        "open_directory": lambda: root.open_directory("file"),
        "stat": lambda: root.stat("file/below"),
        "names": lambda: root.names("file/below", after=None, limit=9),
        "mkdir": lambda: root.mkdir("file/below"),
        "unlink": lambda: root.unlink("file/below"),
        "rmdir": lambda: root.rmdir("file/below"),
        "rmdir of a file": lambda: root.rmdir("file"),
        "rename from": lambda: root.rename("file/below", "other"),
        "rename to": lambda: root.rename("file", "file/below"),
        "replace": lambda: root.replace("file/below", [b"x"]),
    }
    for name, call in calls.items():
        codes = ("not-directory", "invalid-path") if name == "rename to" else "not-directory"
        require_code(codes, call, name)
    require_equal(tree(root), {"file": b"x"}, "everything afterwards")


@VFS_BACKEND.required
def directories_are_no_files(subject: VfsSubject) -> None:
    """Opening, removing or replacing a directory as a file is `vfs.is-directory`."""
    root = subject.root
    root.mkdir("directory")
    for mode in MODES:
        require_code("is-directory", partial(root.open, "directory", mode), f"open to {mode}")
    require_code("is-directory", lambda: root.unlink("directory"), "unlink")
    require_code("is-directory", lambda: root.replace("directory", [b"x"]), "replace")
    require_code(
        "is-directory",
        lambda: root.unlink("directory", only_if=lambda _: True),
        "conditional unlink",
    )
    require_equal(tree(root), {"directory": "directory"}, "everything afterwards")


@VFS_BACKEND.required
def directories_come_and_go(subject: VfsSubject) -> None:
    """Directories are made one by one and removed when they are empty."""
    root = subject.root
    root.mkdir("a")
    root.mkdir("a/b")
    write(root, "a/b/file", b"x")
    require_kind(root.stat("a"), "directory", "a directory")
    require_code("already-exists", lambda: root.mkdir("a"), "mkdir of an existing directory")
    require_code("already-exists", lambda: root.mkdir("a/b/file"), "mkdir of a file")
    require_code("not-empty", lambda: root.rmdir("a/b"), "rmdir of a full directory")
    require_equal(read(root, "a/b/file"), b"x", "content in the full directory")
    root.unlink("a/b/file")
    root.rmdir("a/b")
    require_equal(names(root, "a"), [], "names after rmdir")
    root.mkdir("a/b")
    require_equal(names(root, "a/b"), [], "names in a directory that was made again")


@VFS_BACKEND.required
def one_of_many_makes_a_directory(subject: VfsSubject) -> None:
    """Of several threads that make one directory, exactly one does."""
    root = subject.root

    def work() -> bool:
        try:
            root.mkdir("directory")
        except VfsError as error:
            require_equal(error.code, "vfs.already-exists", "code of a lost mkdir")
            return False
        return True

    require_equal(sum(map(bool, in_threads(*[work] * 4))), 1, "threads that made it")


@VFS_BACKEND.required
def the_root_stays(subject: VfsSubject) -> None:
    """The directory itself cannot be made, removed, replaced, opened as a file or moved."""
    root = subject.root
    root.mkdir("directory")
    calls: dict[str, Callable[[], object]] = {
        "open": lambda: root.open("", "read"),
        "create": lambda: root.open("", "write"),
        "mkdir": lambda: root.mkdir(""),
        "unlink": lambda: root.unlink(""),
        "rmdir": lambda: root.rmdir(""),
        "rename from": lambda: root.rename("", "directory/root"),
        "rename to": lambda: root.rename("directory", ""),
        "replace": lambda: root.replace("", [b"x"]),
        "link to": lambda: root.link("", "other"),
        "readlink": lambda: root.readlink(""),
    }
    for name, call in calls.items():
        require_refused(call, f"{name} of the root")
    require_equal(tree(root), {"directory": "directory"}, "everything afterwards")


@VFS_BACKEND.required
def unlink_removes_one_file(subject: VfsSubject) -> None:
    """`unlink` removes that file and nothing else."""
    root = subject.root
    write(root, "file", b"x")
    write(root, "file2", b"y")
    root.unlink("file")
    require_equal(tree(root), {"file2": b"y"}, "everything afterwards")
    if subject.stored is not None:
        require_equal(subject.stored.tree(), {"file2": b"y"}, "what is stored")


@VFS_BACKEND.required
def rename_replaces(subject: VfsSubject) -> None:
    """`rename` moves a file, and replaces the one that has the name."""
    root = subject.root
    write(root, "old", b"old")
    write(root, "new", b"new")
    root.rename("new", "old")
    require_equal(tree(root), {"old": b"new"}, "everything after rename")
    root.mkdir("directory")
    root.rename("old", "directory/other")
    require_equal(read(root, "directory/other"), b"new", "content in another directory")
    root.rename("directory/other", "directory/other")
    require_equal(read(root, "directory/other"), b"new", "content after a rename to itself")
    require_equal(names(root), ["directory"], "names")


@VFS_BACKEND.required
def rename_moves_directories(subject: VfsSubject) -> None:
    """A directory moves with all below it, also onto an empty one."""
    root = subject.root
    for path in ("a", "a/b", "empty", "deep"):
        root.mkdir(path)
    write(root, "a/b/file", b"x")
    root.rename("a", "deep/a")
    expected = {"deep/a": "directory", "deep/a/b": "directory", "deep/a/b/file": b"x"}
    require_equal(tree(root), {"deep": "directory", "empty": "directory", **expected}, "moved")
    root.rename("deep/a", "empty")
    require_equal(
        tree(root),
        {"deep": "directory", "empty": "directory", "empty/b": "directory", "empty/b/file": b"x"},
        "moved onto an empty directory",
    )


@VFS_BACKEND.required
def rename_keeps_kinds_apart(subject: VfsSubject) -> None:
    """What may not replace each other does not, and a directory never moves below itself."""
    root = subject.root
    for path in ("directory", "full", "empty"):
        root.mkdir(path)
    write(root, "full/file", b"x")
    write(root, "file", b"y")
    before = tree(root)
    cases = (
        ("file", "empty", "is-directory"),
        ("file", "full", "is-directory"),
        ("directory", "file", "not-directory"),
        ("directory", "full", "not-empty"),
        ("full", "full/below", "invalid-path"),
        ("directory", "directory/a", "invalid-path"),
        ("absent", "file", "not-found"),
        ("absent", "absent", "not-found"),
    )
    for source, target, code in cases:
        require_code(code, partial(root.rename, source, target), f"rename {source} to {target}")
        require_equal(tree(root), before, f"everything after rename {source} to {target}")


@VFS_BACKEND.required
def handles_reach_only_what_is_below(subject: VfsSubject) -> None:
    """A handle of a directory below works there, and reaches nothing beside or above."""
    root = subject.root
    root.mkdir("a")
    root.mkdir("a/b")
    write(root, "secret", b"above")
    below = root.open_directory("a")
    write(below, "file", b"x")
    below.rename("file", "b/file")
    require_equal(names(below), ["b"], "names by the handle")
    require_equal(read(root, "a/b/file"), b"x", "content by the root")
    deep = below.open_directory("b")
    require_equal(names(deep), ["file"], "names by a handle of a handle")
    same = deep.open_directory("")
    require_equal(read(same, "file"), b"x", "content by a handle of the directory itself")
    for handle in (below, deep, same):
        require_code("not-found", partial(handle.stat, "secret"), "stat of a name above")
        require_code("not-found", partial(handle.open, "a/b/file", "read"), "path from the root")
        for path in ("..", "../secret", "b/../../secret", "/secret", "/"):
            require_no_path(partial(handle.stat, path), f"stat of {path!r} by a handle")
            require_no_path(partial(handle.open_directory, path), f"a handle of {path!r}")
    deep.close()
    deep.close()
    require_equal(read(below, "b/file"), b"x", "content after another handle was closed")
    below.close()
    same.close()
    require_equal(read(root, "a/b/file"), b"x", "content after all handles were closed")
