"""The reference's vectors of file systems, on every file system there is.

Host directories by both ways to open paths, the overlay over one, and the example that serves
fsspec, on memory and on a local directory. Spec: kernel-and-security 15.12.
"""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from astrid_core.builtin.host_vfs import open_host_directory
from astrid_core.builtin.host_vfs.beneath import KernelWalk, StepWalk
from astrid_hookspecs.errors import PathEscapeError, VfsError, VfsNotFoundError
from astrid_hookspecs.vfs import VfsDirectory
from tests.support.overlay import Workspace

EXAMPLE = Path(__file__).parents[2] / "examples" / "backend_extension" / "src"
KINDS = ["host", "host-step", "overlay", "fsspec-memory", "fsspec-local"]
ON_DISK = ["host", "host-step", "overlay", "fsspec-local"]


def opened(kind: str, path: Path, stack: ExitStack) -> VfsDirectory:
    path.mkdir(exist_ok=True)
    if kind == "overlay":
        workspace = Workspace(path, path.with_name("store"))
        stack.callback(workspace.close)
        return workspace.view
    if kind.startswith("fsspec"):
        opener: Callable[[str], Callable[[str], VfsDirectory]]
        opener = importlib.import_module("astrid_vfs_fsspec.plugin").opener
        scheme, root = ("memory", uuid.uuid4().hex)
        if kind == "fsspec-local":
            scheme, root = "fsspec", f"file://{path}"
        return stack.enter_context(closing(opener(scheme)(root)))
    beneath = KernelWalk() if kind == "host" else StepWalk()
    return stack.enter_context(closing(open_host_directory(path, foreign=True, beneath=beneath)))


@pytest.fixture
def make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], VfsDirectory]]:
    monkeypatch.syspath_prepend(EXAMPLE)
    with ExitStack() as stack:
        yield lambda kind: opened(kind, tmp_path / "root", stack)


def read(root: VfsDirectory, path: str) -> bytes:
    with closing(root.open(path, "read")) as file:
        return file.read_at(0, 1 << 20)


@pytest.mark.parametrize("kind", KINDS)
def test_148_149_no_path_names_what_is_outside(
    make: Callable[[str], VfsDirectory], kind: str
) -> None:
    """The kernel strips a leading slash before a backend sees the path; a backend refuses it."""
    root = make(kind)
    for path in ("/etc/passwd", "../x", "a/../../x"):
        with pytest.raises(PathEscapeError):
            root.open(path, "read")
        with pytest.raises(PathEscapeError):
            root.replace(path, [b"x"])


@pytest.mark.parametrize("kind", ON_DISK)
def test_149_150_a_backend_follows_no_link_inside_or_outside(
    make: Callable[[str], VfsDirectory], kind: str, tmp_path: Path
) -> None:
    """Ours: links are resolved above the backend, see docs/adr/0006."""
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "root" / "sub" / "f").write_bytes(b"x")
    (tmp_path / "root" / "in").symlink_to("sub")
    (tmp_path / "root" / "out").symlink_to("/etc")
    root = make(kind)
    for path in ("in/f", "out/passwd"):
        with pytest.raises(VfsError) as caught:
            root.open(path, "read")
        assert caught.value.code == "vfs.link"


@pytest.mark.parametrize("kind", KINDS)
def test_151_the_root_cannot_be_made_or_removed(
    make: Callable[[str], VfsDirectory], kind: str
) -> None:
    root = make(kind)
    with pytest.raises(VfsError):
        root.mkdir("")
    with pytest.raises(VfsError):
        root.rmdir("")
    with pytest.raises(VfsError):
        root.unlink("")
    assert root.stat("").kind == "directory"


@pytest.mark.parametrize("kind", KINDS)
def test_154_what_is_written_is_read(make: Callable[[str], VfsDirectory], kind: str) -> None:
    root = make(kind)
    root.replace("a", [b"old"])
    with closing(root.open("a", "write")) as file:
        file.write_at(0, b"new")
    assert read(root, "a") == b"new"


@pytest.mark.parametrize("kind", KINDS)
def test_155_156_what_is_removed_is_gone(make: Callable[[str], VfsDirectory], kind: str) -> None:
    root = make(kind)
    root.replace("n", [b"x"])
    root.unlink("n")
    for call in (lambda: root.stat("n"), lambda: root.unlink("n")):
        with pytest.raises(VfsNotFoundError):
            call()


@pytest.mark.parametrize("kind", ON_DISK)
def test_155_157_what_was_there_before_is_listed_and_can_be_removed(
    make: Callable[[str], VfsDirectory], kind: str, tmp_path: Path
) -> None:
    """Ours: an overlay hides lower names, and lists directories of the lower layer alone."""
    (tmp_path / "root" / "d").mkdir(parents=True)
    (tmp_path / "root" / "d" / "f").write_bytes(b"x")
    root = make(kind)
    assert root.names("d", after=None, limit=9) == ["f"]
    root.unlink("d/f")
    assert root.names("d", after=None, limit=9) == []
    assert (tmp_path / "root" / "d" / "f").exists() is (kind == "overlay")


@pytest.mark.parametrize("kind", KINDS)
def test_158_writing_and_making_outside_is_refused(
    make: Callable[[str], VfsDirectory], kind: str
) -> None:
    root = make(kind)
    for path in ("/a", "../a"):
        for call in (lambda: root.open(path, "write"), lambda: root.mkdir(path)):  # noqa: B023
            with pytest.raises(PathEscapeError):
                call()


def test_154_an_overlay_leaves_the_lower_file_alone(
    make: Callable[[str], VfsDirectory], tmp_path: Path
) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a").write_bytes(b"old")
    root = make("overlay")
    with closing(root.open("a", "read-write")) as file:
        file.write_at(0, b"new")
        assert file.read_at(0, 9) == b"new"
    assert read(root, "a") == b"new"
    assert (tmp_path / "root" / "a").read_bytes() == b"old"
