"""The contract on memory and on a local directory, and what zip files and bad URLs do."""

from __future__ import annotations

import uuid
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from astrid_conformance.checks.vfs_backend import VfsSubject, vfs_subject
from astrid_conformance.suites import VfsBackendConformance
from astrid_hookspecs.errors import ConfigError, ReadOnlyError, VfsError

from astrid_vfs_fsspec.plugin import astrid_register_vfs_backends, opener


class TestMemory(VfsBackendConformance):
    def subject(self, directory: Path) -> AbstractContextManager[VfsSubject]:
        del directory
        return memory()


class TestLocal(VfsBackendConformance):
    def subject(self, directory: Path) -> AbstractContextManager[VfsSubject]:
        return vfs_subject(lambda root: opener("fsspec")(f"file://{root}"), directory)


@contextmanager
def memory() -> Iterator[VfsSubject]:
    root = opener("memory")(uuid.uuid4().hex)
    try:
        yield VfsSubject(root, None)
    finally:
        root.close()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "wiki.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("pages/index.md", "# Wiki\n")
        file.writestr("../escape", "no")
    return path


def test_a_zip_file_is_read_and_never_changed(archive: Path) -> None:
    root = opener("zip")(str(archive))
    assert root.names("pages", after=None, limit=9) == ["index.md"]
    assert root.open("pages/index.md", "read").read_at(2, 4) == b"Wiki"
    before = archive.read_bytes()
    for change in (
        lambda: root.replace("pages/index.md", [b"x"]),
        lambda: root.open("new", "write"),
        lambda: root.mkdir("new"),
        lambda: root.unlink("pages/index.md"),
    ):
        with pytest.raises(ReadOnlyError):
            change()
    assert archive.read_bytes() == before


def test_two_roots_of_one_memory_do_not_mix() -> None:
    with memory() as one, memory() as two:
        one.root.replace("a", [b"1"])
        assert two.root.names("", after=None, limit=9) == []
        with pytest.raises(VfsError):
            two.root.stat("a")


def test_a_local_link_is_never_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"outside")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to("../secret")
    (inside / "up").symlink_to("..")
    root = opener("fsspec")(f"file://{inside}")
    for path in ("link", "up/secret"):
        with pytest.raises(VfsError) as caught:
            root.open(path, "read")
        assert caught.value.code == "vfs.link"
        with pytest.raises(VfsError):
            root.open(path, "append")
    assert (tmp_path / "secret").read_bytes() == b"outside"


@pytest.mark.parametrize(
    ("scheme", "root"),
    [("memory", ""), ("fsspec", ""), ("fsspec", "nosuchprotocol://x"), ("fsspec", "a\0b")],
)
def test_a_url_that_names_nothing_is_a_setting_error(scheme: str, root: str) -> None:
    with pytest.raises(ConfigError) as caught:
        opener(scheme)(root)
    assert caught.value.code == "vfs.root"


def test_a_zip_file_that_is_missing_or_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_text("no zip")
    for name in ("absent.zip", "no.zip"):
        with pytest.raises((VfsError, ConfigError)):
            opener("zip")(str(tmp_path / name))


def test_each_scheme_has_a_record() -> None:
    records = astrid_register_vfs_backends()
    assert [sorted(record.schemes) for record in records] == [["fsspec"], ["memory"], ["zip"]]
