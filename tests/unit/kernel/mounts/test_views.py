"""Restricted directories: read-only ones pass no change on, hidden paths cannot be reached."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from astrid_conformance.fakes import DictDirectory
from astrid_core.kernel.mounts.views import RestrictedDirectory
from astrid_hookspecs.errors import CapabilityDeniedError, ReadOnlyError
from astrid_hookspecs.vfs import VfsDirectory


@pytest.fixture
def inner() -> DictDirectory:
    root = DictDirectory()
    for directory in ("project", "project/src", "vault", "vault/keys"):
        root.mkdir(directory)
    for path in ("project/src/a.txt", "vault/keys/k", "vaulted"):
        root.replace(path, [b"content"])
    return root


CHANGES: dict[str, Callable[[VfsDirectory, str], object]] = {
    "write": lambda root, path: root.open(path, "write"),
    "append": lambda root, path: root.open(path, "append"),
    "read-write": lambda root, path: root.open(path, "read-write"),
    "mkdir": lambda root, path: root.mkdir(path),
    "unlink": lambda root, path: root.unlink(path),
    "rmdir": lambda root, path: root.rmdir(path),
    "rename from": lambda root, path: root.rename(path, "project/new"),
    "rename to": lambda root, path: root.rename("vaulted", path),
    "replace": lambda root, path: root.replace(path, [b"x"]),
    "link from": lambda root, path: root.link(path, "project/new"),
    "link to": lambda root, path: root.link("vaulted", path),
    "symlink": lambda root, path: root.symlink("target", path),
}
READS: dict[str, Callable[[VfsDirectory, str], object]] = {
    "read": lambda root, path: root.open(path, "read"),
    "stat": lambda root, path: root.stat(path),
    "names": lambda root, path: root.names(path, after=None, limit=9),
    "readlink": lambda root, path: root.readlink(path),
    "open_directory": lambda root, path: root.open_directory(path),
}


@pytest.mark.parametrize("name", CHANGES)
def test_change_refused_when_read_only(inner: DictDirectory, name: str) -> None:
    before = dict(inner.nodes)
    root = RestrictedDirectory(inner, writable=False)
    with pytest.raises(ReadOnlyError):
        CHANGES[name](root, "project/src/a.txt")
    assert inner.nodes == before


def test_a_directory_handle_of_a_read_only_view_is_read_only(inner: DictDirectory) -> None:
    below = RestrictedDirectory(inner, writable=False).open_directory("project")
    with pytest.raises(ReadOnlyError):
        below.replace("src/a.txt", [b"x"])
    assert below.names("src", after=None, limit=9) == ["a.txt"]


@pytest.mark.parametrize("path", ["vault", "vault/keys", "vault/keys/k", "VAULT", "Vault/keys"])
@pytest.mark.parametrize("name", [*READS, *CHANGES])
def test_hidden_path_denied_when_named(inner: DictDirectory, name: str, path: str) -> None:
    before = dict(inner.nodes)
    root = RestrictedDirectory(inner, writable=True, hidden=["vault"])
    with pytest.raises(CapabilityDeniedError) as caught:
        (READS | CHANGES)[name](root, path)
    assert caught.value.rule == "mount.runtime-home"
    assert inner.nodes == before


def test_hidden_names_are_not_listed_and_pages_stay_full(inner: DictDirectory) -> None:
    root = RestrictedDirectory(inner, writable=True, hidden=["vault"])
    assert root.names("", after=None, limit=9) == ["project", "vaulted"]
    assert root.names("", after=None, limit=2) == ["project", "vaulted"]
    assert root.names("", after="project", limit=1) == ["vaulted"]
    assert root.stat("vaulted").size == 7


def test_a_directory_that_holds_something_hidden_stays_where_it_is(inner: DictDirectory) -> None:
    root = RestrictedDirectory(inner, writable=True, hidden=["vault/keys"])
    with pytest.raises(CapabilityDeniedError):
        root.rename("vault", "elsewhere")
    with pytest.raises(CapabilityDeniedError):
        root.open_directory("vault").stat("keys")
    assert "vault/keys/k" in inner.nodes


def test_other_spellings_of_what_is_hidden_are_not_listed_either(inner: DictDirectory) -> None:
    """As on a disk that keeps both apart, where more is hidden than need be."""
    for name in ("VAULT", "Vault", "stra\u00dfe", "STRASSE", "z"):
        inner.mkdir(name)
    root = RestrictedDirectory(inner, writable=True, hidden=["vault", "stra\u00dfe"])
    assert root.names("", after=None, limit=99) == ["project", "vaulted", "z"]
    assert root.names("", after=None, limit=2) == ["project", "vaulted"]
    assert root.names("", after="project", limit=2) == ["vaulted", "z"]
    assert root.names("", after=None, limit=0) == []
