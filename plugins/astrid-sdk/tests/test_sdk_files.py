"""File functions against the fake host; reference vectors carry their numbers.

Spec: host-abi 21.1.
"""

from __future__ import annotations

import csv
import errno
import io
import json
from collections.abc import Callable, Iterator

import pytest

from astrid_sdk import bindings, fs
from astrid_sdk.errors import CapabilityDeniedError, HostError, TooLargeError
from astrid_sdk.fs_errors import (
    FsAccessError,
    FsBoundaryEscapeError,
    FsCrossVfsError,
    FsInvalidPathError,
    FsQuotaError,
)
from astrid_sdk.testing import FakeHost

MIB = 1024 * 1024


@pytest.fixture
def host() -> Iterator[FakeHost]:
    """The world of the reference's file vectors, without its links."""
    made = FakeHost(
        principal="alice",
        fs_read=["*", "home://"],
        fs_write=["cwd://d", "home://data"],
    )
    made.files["a.txt"] = b"hi"
    made.files["big"] = bytes(10 * MIB + 1)
    made.files.mkdir("d")
    made.files["home://x"] = b"x"
    made.files.mkdir("home://data")
    before, live = bindings.bind(made), bindings.set_live(True)
    yield made
    bindings.set_live(live)
    bindings.bind(before)


@pytest.fixture(autouse=True)
def _bound(host: FakeHost) -> None:
    assert host.files["a.txt"] == b"hi"


@pytest.mark.parametrize("path", ["a.txt", "/a.txt", "cwd://a.txt", "workspace://a.txt"])
def test_1_every_spelling_of_a_workspace_path(path: str) -> None:
    assert fs.read_text(path) == "hi"


REFUSED: list[tuple[str, Callable[[], object], type[Exception]]] = [
    ("2", lambda: fs.read_bytes("../etc/passwd"), FsBoundaryEscapeError),
    ("4", lambda: fs.read_bytes("d/../../x"), PermissionError),
    ("5", lambda: fs.read_bytes("/etc/passwd"), FileNotFoundError),
    ("8-nul", lambda: fs.read_bytes("a\0b"), FsInvalidPathError),
    ("8-newline", lambda: fs.read_bytes("a\nb"), ValueError),
    ("8-scheme", lambda: fs.read_bytes("ftp://x"), FsInvalidPathError),
    ("10", lambda: fs.read_bytes("home://../default/x"), FsBoundaryEscapeError),
    ("11", lambda: fs.write_bytes("tmp://t", b""), CapabilityDeniedError),
    ("12", lambda: fs.write_bytes("n", b""), CapabilityDeniedError),
    ("12-directory", lambda: fs.write_bytes("d", b""), IsADirectoryError),
    ("13-home", lambda: fs.write_bytes("home://data/q/n", b""), FileNotFoundError),
    ("15-directory", lambda: fs.read_bytes("d"), IsADirectoryError),
    ("15-absent", lambda: fs.read_bytes("nope"), FileNotFoundError),
    ("16", lambda: fs.exists("../x"), FsBoundaryEscapeError),
    ("17", lambda: fs.mkdir("d"), FileExistsError),
    ("17-parents", lambda: fs.mkdir("d/p/q"), FileNotFoundError),
    ("19", lambda: fs.remove("d"), IsADirectoryError),
    ("20", lambda: fs.listdir("a.txt"), NotADirectoryError),
    ("22", lambda: fs.rename("d/n", "home://data/n"), FsCrossVfsError),
    ("25", lambda: fs.readlink("a.txt"), FsInvalidPathError),
    ("26", lambda: fs.hardlink("a.txt", "d/h"), CapabilityDeniedError),
    ("27", lambda: fs.copy("d", "d/e"), IsADirectoryError),
    ("31", lambda: fs.open("d/absent", "r+"), FileNotFoundError),
]


@pytest.mark.parametrize(
    ("call", "error"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_refusals_are_the_exceptions_that_python_programs_catch(
    host: FakeHost, call: Callable[[], object], error: type[Exception]
) -> None:
    host.files["d/n"] = b"n"
    with pytest.raises(error) as caught:
        call()
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, HostError)


def test_an_error_names_the_path_and_the_case() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        fs.read_bytes("nope")
    assert caught.value.filename == "nope"
    assert caught.value.errno == errno.ENOENT
    assert str(caught.value) == "[Errno 2] read-file: not-found: 'nope'"


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda: fs.write_bytes("tmp://t", b""), '"tmp://t" in fs_write'),
        (lambda: fs.remove("/tmp/t"), '"tmp://t" in fs_write'),
        (lambda: fs.write_bytes("./x/../n", b""), '"workspace://n" in fs_write'),
        (lambda: fs.mkdir("n"), '"workspace://n" in fs_write'),
        (lambda: fs.open("a.txt", "a"), '"workspace://a.txt" in fs_write'),
        (
            lambda: fs.open("tmp://t", "r+"),
            '"tmp://t" in fs_read and "tmp://t" in fs_write',
        ),
        (
            lambda: fs.copy("a.txt", "b.txt"),
            '"workspace://a.txt" in fs_read and "workspace://b.txt" in fs_write',
        ),
        (
            lambda: fs.rename("a.txt", "b.txt"),
            '"workspace://a.txt" in fs_write and "workspace://b.txt" in fs_write',
        ),
    ],
)
def test_a_denial_says_which_rule_would_allow_it(call: Callable[[], object], hint: str) -> None:
    with pytest.raises(PermissionError) as caught:
        call()
    assert isinstance(caught.value, CapabilityDeniedError)
    assert caught.value.hint == f"needs {hint} below [capabilities] of Capsule.toml"
    assert caught.value.hint in str(caught.value)


def test_what_no_rule_allows_says_so() -> None:
    with pytest.raises(FsBoundaryEscapeError, match="no entry of Capsule"):
        fs.read_bytes("../x")
    with pytest.raises(CapabilityDeniedError, match="is the kernel's own; no entry"):
        fs.read_bytes("home://.config/env")


def test_errors_of_open_files_name_the_path() -> None:
    with fs.open("a.txt", "rb") as file, pytest.raises(PermissionError) as caught:
        file.raw.write(b"x")  # type: ignore[attr-defined]
    assert caught.value.filename == "a.txt"


def test_what_is_not_bytes_is_not_written(host: FakeHost) -> None:
    fs.write_bytes("d/view", memoryview(bytearray(b"view")))
    for wrong in (7, "text", [1, 2]):
        with pytest.raises(TypeError):
            fs.write_bytes("d/wrong", wrong)  # type: ignore[arg-type]
    assert host.files["d/view"] == b"view"
    assert "d/wrong" not in host.files


def test_11_home_covers_the_temporary_directory_only_where_it_is_granted(host: FakeHost) -> None:
    host.fs_write.append("home://.local/tmp")
    fs.write_text("tmp://t", "x")
    fs.write_text("/tmp/u", "y")
    assert fs.listdir("tmp://") == ["t", "u"]


def test_13_parents_are_made_in_the_workspace(host: FakeHost) -> None:
    fs.write_text("d/sub/n", "n")
    assert host.files["d/sub/n"] == b"n"


def test_whole_files_above_the_boundary_limit_go_in_pieces(host: FakeHost) -> None:
    data = bytes(range(256)) * (12 * 4096)
    fs.write_bytes("d/large", data)
    assert host.files["d/large"] == data
    fs.append_bytes("d/large", data[: 3 * MIB])
    assert fs.read_bytes("d/large") == data + data[: 3 * MIB]
    assert len(fs.read_bytes("big")) == 10 * MIB + 1


def test_17_to_19_directories_come_and_go(host: FakeHost) -> None:
    fs.mkdir("d/p")
    fs.mkdir("d/p/q/r", parents=True)
    fs.mkdir("d/p/q", exist_ok=True)
    fs.mkdir("d/p/q/r", parents=True, exist_ok=True)
    with pytest.raises(FileExistsError):
        fs.mkdir("d/p/q/r", parents=True)
    host.files["d/n"] = b""
    with pytest.raises(FileExistsError):
        fs.mkdir("d/n", exist_ok=True)
    fs.remove("d/n")
    with pytest.raises(FileNotFoundError):
        fs.remove("d/n")
    assert fs.rmtree("d/p") == 3
    assert fs.listdir("d") == []


def test_20_listings_are_sorted_and_bounded(host: FakeHost) -> None:
    for name in ("b", "é", "B", "10", "9"):
        host.files[f"d/{name}"] = b""
    assert fs.listdir("d") == ["10", "9", "B", "b", "é"]
    for number in range(4097):
        host.files[f"many/{number}"] = b""
    with pytest.raises(TooLargeError):
        fs.listdir("many")


def test_walk_goes_down_and_can_be_steered(host: FakeHost) -> None:
    host.files["d/x/deep/f"] = b""
    host.files["d/y/f"] = b""
    seen = []
    for top, directories, files in fs.walk("d"):
        seen.append((top, list(directories), files))
        if "x" in directories:
            directories.remove("x")
    assert seen == [("d", ["x", "y"], []), ("d/y", [], ["f"])]
    assert list(fs.walk("absent")) == []


def test_walk_leaves_out_what_cannot_be_listed_and_says_so_when_asked(host: FakeHost) -> None:
    for number in range(4097):
        host.files[f"d/many/{number}"] = b""
    host.files["d/z/f"] = b""
    errors: list[fs.FsError] = []

    assert [top for top, _, _ in fs.walk("d")] == ["d", "d/z"]
    assert [top for top, _, _ in fs.walk("d", on_error=errors.append)] == ["d", "d/z"]
    assert [(error.case, error.filename) for error in errors] == [("too-large", "d/many")]
    for refused in ("d/many", "home://.local", "a.txt"):
        with pytest.raises(fs.FsError):
            next(fs.walk(refused))


def test_roots_stay(host: FakeHost) -> None:
    host.fs_write[:] = ["cwd://", "home://"]
    host.files["home://.local/tmp/f"] = b""
    for call in (
        lambda: fs.rmtree(""),
        lambda: fs.rename("workspace://", "d/x"),
        lambda: fs.rename("d", "home://"),
        lambda: fs.rmtree("home://.local/tmp"),
    ):
        with pytest.raises(FsAccessError):
            call()


def test_a_test_names_files_plainly(host: FakeHost) -> None:
    with pytest.raises(ValueError, match="without"):
        host.files["d/../x"] = b""
    del host.files["a.txt"]
    assert sorted(host.files) == ["big", "home://x"]
    with pytest.raises(KeyError):
        del host.files["d"]


def test_what_is_there(host: FakeHost) -> None:
    assert (fs.exists("nope"), fs.exists("d")) == (False, True)
    assert (fs.is_dir("d"), fs.is_file("d"), fs.is_file("a.txt")) == (True, False, True)
    assert not fs.is_dir("nope")
    assert fs.stat("a.txt")[:2] == (2, "regular")
    assert fs.lstat("d").kind == "directory"
    assert fs.canonicalize("d/../a.txt") == "workspace://a.txt"
    host.fs_read.clear()
    with pytest.raises(CapabilityDeniedError):
        fs.exists("a.txt")


def test_22_rename_replaces(host: FakeHost) -> None:
    host.files["d/n"] = b"new"
    host.files["d/m"] = b"old"
    fs.rename("d/n", "d/m")
    assert fs.listdir("d") == ["m"]
    assert fs.read_text("d/m") == "new"
    host.files["d/t/deep/f"] = b"f"
    fs.rename("d/t", "d/u")
    assert fs.read_text("d/u/deep/f") == "f"


def test_two_names_of_a_file_share_its_content(host: FakeHost) -> None:
    host.files["d/one"] = b"1"
    fs.hardlink("d/one", "d/two")
    with fs.open("d/two", "r+b") as file:
        file.write(b"2")
    assert fs.read_text("d/one") == "2"


def test_open_gives_what_pythons_own_open_gives(host: FakeHost) -> None:
    with fs.open("d/t", "w") as file:
        print("one,1", "two,2", sep="\n", file=file)
    with fs.open("d/t", "a") as file:
        file.write("three,3\n")
    with fs.open("d/t") as file:
        assert list(csv.reader(file)) == [["one", "1"], ["two", "2"], ["three", "3"]]
    with fs.open("d/t", "r+b") as file:
        file.seek(-2, io.SEEK_END)
        file.write(b"4")
        file.seek(0)
        assert file.readline() == b"one,1\n"
        file.truncate(6)
    assert host.files["d/t"] == b"one,1\n"
    with fs.open("d/t", "w+") as file:
        json.dump({"a": 1}, file)
        file.seek(0)
        assert json.load(file) == {"a": 1}
    with pytest.raises(ValueError, match="invalid mode"):
        fs.open("d/t", "x")
    with fs.open("d/t") as file, pytest.raises(io.UnsupportedOperation):
        file.write("no")


def test_28_to_30_handles(host: FakeHost) -> None:
    host.files["d/big"] = bytes(3 * MIB)
    held = [fs.open("d/big", "rb") for _ in range(16)]
    with pytest.raises(FsQuotaError):
        fs.open("d/big", "rb")
    held.pop().close()
    with fs.open("d/big", "r+b") as file:
        assert len(file.read()) == 3 * MIB
        file.seek(0)
        assert file.write(b"x" * (2 * MIB)) == 2 * MIB
        file.seek(3 * MIB)
        assert file.read(1) == b""
    for other in held:
        other.close()
        other.close()
    assert fs.read_bytes("d/big")[: 2 * MIB] == b"x" * (2 * MIB)
