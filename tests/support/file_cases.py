"""A capsule that uses files in every way, with what has to come out of each.

The same cases run against the fake host of unit tests and, built into a component, against the
kernel: `tests/integration/test_sdk_files.py`. Spec: host-abi 5, 21.1.
"""

from __future__ import annotations

import csv
import errno
import io
import json
from collections.abc import Callable
from typing import Any

from astrid_sdk import fs, tool

MIB = 1024 * 1024
MANIFEST = """
[package]
name = "file-cases"
version = "0.1.0"

[capabilities]
fs_read = ["*", "home://data"]
fs_write = ["cwd://d", "home://data", "home://drop"]
"""
FILES = {
    "a.txt": b"hi",
    "notes/deep/b.md": b"# B\n",
    ".hidden/c.md": b"",
    "big": bytes(10 * MIB + 1),
}
"""The workspace, besides the empty directory `d`."""

CASES: dict[str, tuple[Callable[[], Any], Any]] = {}
"""Function and what it returns, as JSON shows it."""


def case(expected: Any) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    def keep(function: Callable[[], Any]) -> Callable[[], Any]:
        CASES[function.__name__] = (function, expected)
        return function

    return keep


def refused(function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """The built-in exception, the case and the path of a refusal."""
    try:
        function(*arguments)
    except fs.FsError as error:
        builtin = [kind for kind in type(error).__mro__ if kind.__module__ == "builtins"]
        first = next((kind for kind in builtin if not issubclass(OSError, kind)), OSError)
        return [first.__name__, error.case, error.filename]
    return ["nothing was refused"]


@tool
def perform(name: str) -> str:
    """Do one case; its result as JSON."""
    return json.dumps(CASES[name][0]())


@case(["hi", "hi", "hi", "hi"])
def every_spelling() -> Any:
    return [fs.read_text(path) for path in ("a.txt", "/a.txt", "cwd://a.txt", "workspace://a.txt")]


@case(
    [
        ["FileNotFoundError", "not-found", "nope"],
        ["FileNotFoundError", "not-found", "nodir/../a.txt"],
        ["NotADirectoryError", "not-directory", "a.txt/../a.txt"],
        ["FileNotFoundError", "not-found", "/etc/passwd"],
        ["PermissionError", "boundary-escape", "../etc/passwd"],
        ["PermissionError", "boundary-escape", "d/../../x"],
        ["PermissionError", "capability-denied", "home://x"],
        ["PermissionError", "capability-denied", "home://.config/env"],
        ["PermissionError", "capability-denied", "tmp://x"],
        ["PermissionError", "capability-denied", "tmp://no/../x"],
        ["ValueError", "invalid-path", "ftp://x"],
        ["ValueError", "invalid-path", "a\nb"],
        ["ValueError", "invalid-path", "e\u0301"],
        ["ValueError", "invalid-path", "x" * 256],
        ["ValueError", "invalid-path", ".astrid-tmp-1"],
        ["IsADirectoryError", "is-directory", "d"],
    ]
)
def refused_reads() -> Any:
    paths = [row[2] for row in CASES["refused_reads"][1]]
    return [refused(fs.read_bytes, path) for path in paths]


@case(
    [
        ["PermissionError", "capability-denied", "a.txt"],
        ["PermissionError", "capability-denied", "d/../a.txt"],
        ["PermissionError", "boundary-escape", "../x"],
        ["PermissionError", "capability-denied", "tmp://x"],
        ["IsADirectoryError", "is-directory", "d"],
        ["FileNotFoundError", "not-found", "home://data/no/x"],
    ]
)
def refused_writes() -> Any:
    fs.mkdir("home://data", exist_ok=True)
    paths = [row[2] for row in CASES["refused_writes"][1]]
    return [refused(fs.write_text, path, "x") for path in paths]


@case(
    [
        ["PermissionError", "capability-denied", "a.txt"],
        ["PermissionError", "capability-denied", "d/moves"],
        ["OSError", "cross-vfs", "d/moves/f"],
        ["ValueError", "invalid-path", "d/moves"],
        ["OSError", "not-empty", "d/moves/x"],
        ["NotADirectoryError", "not-directory", "d/moves/x"],
        ["IsADirectoryError", "is-directory", "d/moves/f"],
        ["FileNotFoundError", "not-found", "d/moves/no"],
        ["FileNotFoundError", "not-found", "d/moves/f"],
        ["PermissionError", "capability-denied", "a.txt"],
        ["FileExistsError", "already-exists", "d/moves/f"],
        ["IsADirectoryError", "is-directory", "d/moves/x"],
        ["OSError", "cross-vfs", "d/moves/f"],
        ["IsADirectoryError", "is-directory", "d/moves/x"],
        ["FileNotFoundError", "not-found", "d/moves/f"],
    ]
)
def refused_moves() -> Any:
    fs.mkdir("home://data", exist_ok=True)
    fs.write_text("d/moves/y/f", "")
    fs.write_text("d/moves/f", "")
    fs.mkdir("d/moves/x")
    return [
        refused(fs.rename, "a.txt", "d/x"),
        refused(fs.rename, "d/moves", "x"),
        refused(fs.rename, "d/moves/f", "home://data/f"),
        refused(fs.rename, "d/moves", "d/moves/z"),
        refused(fs.rename, "d/moves/x", "d/moves/y"),
        refused(fs.rename, "d/moves/x", "d/moves/f"),
        refused(fs.rename, "d/moves/f", "d/moves/x"),
        refused(fs.rename, "d/moves/no", "d/moves/n"),
        refused(fs.rename, "d/moves/f", "d/no/f"),
        refused(fs.hardlink, "a.txt", "d/moves/h"),
        refused(fs.hardlink, "d/moves/f", "d/moves/y/f"),
        refused(fs.hardlink, "d/moves/x", "d/moves/h"),
        refused(fs.hardlink, "d/moves/f", "home://data/h"),
        refused(fs.copy, "d/moves/x", "d/moves/c"),
        refused(fs.copy, "d/moves/f", "d/no/f"),
    ]


@case([["d/p/q", True, False, True], ["FileExistsError"] * 3, ["f"], 3, False, ["q"]])
def directories() -> Any:
    fs.mkdir("d/p/q/r", parents=True)
    fs.mkdir("d/p/q", exist_ok=True)
    fs.write_text("d/p/q/f", "")
    kinds = ["d/p/q", fs.is_dir("d/p/q"), fs.is_dir("d/p/q/f"), fs.is_file("d/p/q/f")]
    exists = [
        refused(fs.mkdir, "d/p")[0],
        refused(lambda: fs.mkdir("d/p/q/f", exist_ok=True))[0],
        refused(lambda: fs.mkdir("d/p/q/f", parents=True, exist_ok=True))[0],
    ]
    fs.rmtree("d/p/q/r")
    left = fs.listdir("d/p/q")
    fs.mkdir("d/p/q/s")
    removed = fs.rmtree("d/p/q")
    fs.mkdir("d/p/q")
    return [kinds, exists, left, removed, fs.exists("d/p/q/f"), fs.listdir("d/p")]


@case(
    [
        ["IsADirectoryError", "is-directory", "d/gone"],
        ["FileNotFoundError", "not-found", "d/gone/no"],
        ["NotADirectoryError", "not-directory", "d/gone/f"],
        ["NotADirectoryError", "not-directory", "a.txt"],
        ["NotADirectoryError", "not-directory", "a.txt/x"],
        ["FileNotFoundError", "not-found", "d/gone/no/x"],
        False,
    ]
)
def what_is_not_there() -> Any:
    fs.write_text("d/gone/f", "")
    return [
        refused(fs.remove, "d/gone"),
        refused(fs.remove, "d/gone/no"),
        refused(fs.rmtree, "d/gone/f"),
        refused(fs.listdir, "a.txt"),
        refused(fs.read_bytes, "a.txt/x"),
        refused(fs.mkdir, "d/gone/no/x"),
        fs.exists("a.txt/x"),
    ]


@case([["10", "9", "B", "b", "\u00e9"], ["d/l/10", "d/l/9"]])
def listings() -> Any:
    for name in ("b", "\u00e9", "B", "10", "9"):
        fs.write_text(f"d/l/{name}", "")
    return [fs.listdir("d/l"), list(fs.iterdir("d/l"))[:2]]


@case([[["", [".hidden", "d", "notes"], ["a.txt", "big"]], ["notes/deep", [], ["b.md"]]], []])
def walking() -> Any:
    seen = []
    for top, directories, files in fs.walk():
        if "d" in directories:
            seen.append([top, list(directories), files])
            directories[:] = ["notes"]
        elif top.endswith("deep"):
            seen.append([top, directories, files])
    return [seen, list(fs.walk("nowhere"))]


@case(
    [
        ["notes/deep/b.md"],
        ["notes/deep/b.md"],
        [".hidden/c.md"],
        ["a.txt"],
        ["workspace://notes/deep"],
        ["notes", "notes/deep", "notes/deep/b.md"],
        [],
        ["a.txt"],
        "too-large",
    ]
)
def globbing() -> Any:
    patterns = ["**/*.md", "notes/**/b.*", ".h*/*", "[a-c].t?t", "workspace://notes/*"]
    found = [list(fs.glob(pattern)) for pattern in patterns]
    found.append([path for path in fs.glob("**/**") if path.startswith("notes")])
    found += [list(fs.glob("nowhere/*")), list(fs.glob("a.txt"))]
    return [*found, refused(lambda: list(fs.glob("**", max_names=2)))[1]]


@case([[2, "regular"], "directory", "workspace://a.txt", "home://data", "invalid-path"])
def looks() -> Any:
    fs.mkdir("home://data", exist_ok=True)
    return [
        list(fs.stat("a.txt")[:2]),
        fs.lstat("d").kind,
        fs.canonicalize("d/.//../a.txt"),
        fs.canonicalize("home://data"),
        refused(fs.readlink, "a.txt")[1],
    ]


@case([["m"], "new", "f", "copied", "onetwo"])
def moving_and_copying() -> Any:
    fs.write_text("d/m/n", "new")
    fs.write_text("d/m/m", "old")
    fs.rename("d/m/n", "d/m/m")
    listed = fs.listdir("d/m")
    fs.write_text("d/t/deep/f", "f")
    fs.rename("d/t", "d/u")
    fs.write_text("d/m/c", "copied")
    fs.copy("d/m/c", "d/m/m2")
    fs.copy("d/m/c", "d/m/c")
    fs.write_text("d/m/one", "one")
    fs.hardlink("d/m/one", "d/m/two")
    fs.append_text("d/m/two", "two")
    read = [fs.read_text(path) for path in ("d/m/m", "d/u/deep/f", "d/m/m2", "d/m/one")]
    return [listed, *read]


@case([5 * MIB // 2, 3 * MIB, 10 * MIB + 1, True])
def large_files() -> Any:
    data = bytes(range(256)) * (MIB // 256)
    fs.write_bytes("d/large", data * 2 + data[: MIB // 2])
    two_and_a_half = len(fs.read_bytes("d/large"))
    fs.write_bytes("d/large", memoryview(data * 3))
    same = fs.read_bytes("d/large") == data * 3
    return [two_and_a_half, fs.stat("d/large").size, len(fs.read_bytes("big")), same]


@case([["one", "1"], "two,2", "three,3", {"a": [1]}, "x", "U+fffd: \ufffd"])
def text_files() -> Any:
    with fs.open("d/t", "w") as file:
        print("one,1", "two,2", sep="\n", file=file)
    with fs.open("d/t", "a") as file:
        file.write("three,3\n")
    with fs.open("d/t") as file:
        first = next(csv.reader(file))
        second, third = (line.rstrip() for line in file)
    with fs.open("d/t", "w+") as file:
        json.dump({"a": [1]}, file)
        file.seek(0)
        loaded = json.load(file)
    with fs.open("d/t", "w+") as file:
        file.write("x")
        file.flush()
        file.buffer.raw.sync()  # type: ignore[attr-defined]
        held = fs.read_text("d/t")
    fs.write_bytes("d/t", b"U+fffd: \xff")
    with fs.open("d/t", errors="replace") as file:
        return [first, second, third, loaded, held, file.read()]


@case(["one\r\n", "fo", 5, "one\r\n", 9, "one\r\n\0\0\0\0", "access", "access", "6:add"])
def binary_files() -> Any:
    fs.write_bytes("d/b", b"one\r\ntwo")
    with fs.open("d/b", "r+b") as file:
        line = file.readline()
        file.seek(-2, io.SEEK_END)
        file.write(b"fo")
        file.seek(-2, io.SEEK_CUR)
        end = file.read()
        size = file.truncate(5)
        file.seek(0)
        left = file.read()
    with fs.open("d/b", "r+b") as file:
        longer = file.truncate(9)
    whole = fs.read_text("d/b")
    with fs.open("d/b", "rb") as file:
        reading = refused(file.raw.write, b"x")[1]  # type: ignore[attr-defined]
    with fs.open("d/b2", "ab") as file:
        file.write(b"before")
        writing = refused(file.raw.read, 1)[1]  # type: ignore[attr-defined]
    with fs.open("d/b2", "ab") as file:
        at = file.tell()
        file.seek(0)
        file.write(b"add")
    added = f"{at}:{fs.read_text('d/b2')[at:]}"
    return [
        line.decode(),
        end.decode(),
        size,
        left.decode(),
        longer,
        whole,
        reading,
        writing,
        added,
    ]


@case(["quota", True, "d/h", True, ["FileNotFoundError", "not-found", "d/none"]])
def open_files() -> Any:
    fs.write_bytes("d/h", b"0123")
    held = [fs.open("d/h", "rb") for _ in range(16)]
    try:
        fs.open("d/h", "rb")
    except fs.FsError as error:
        found = [error.case, error.errno == errno.EDQUOT, error.filename]
    held.pop().close()
    with fs.open("d/h", "rb") as again:
        found.append(again.read() == b"0123")
    for file in held:
        file.close()
    return [*found, refused(fs.open, "d/none", "r+")]


@case([["PermissionError", "capability-denied", "home://drop/x"], 4])
def emptying_needs_both_rights() -> Any:
    fs.mkdir("home://drop", parents=True, exist_ok=True)
    fs.write_text("home://drop/x", "kept")
    denied = refused(fs.open, "home://drop/x", "w+")
    with fs.open("home://drop/x", "ab") as file:
        return [denied, file.tell()]


@case('needs "workspace://a.txt" in fs_write below [capabilities] of Capsule.toml')
def refusals_say_what_would_allow_it() -> Any:
    try:
        fs.write_text("d/../a.txt", "x")
    except PermissionError as error:
        return getattr(error, "hint", None)


@case(["TypeError", "FsInvalidPathError"])
def texts_that_are_no_paths() -> Any:
    found = []
    for path in (b"a.txt", "\udc80"):
        try:
            fs.exists(path)  # type: ignore[arg-type]
        except (OSError, TypeError, ValueError) as error:
            found.append(type(error).__name__)
    return found
