"""What every file system backend does the same way: paths, temporaries, words for errors."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrid_hookspecs.errors import PathEscapeError, VfsError, VfsNotFoundError
from astrid_hookspecs.vfs_paths import (
    MAX_NAME_BYTES,
    MAX_PATH_BYTES,
    VFS_CODES,
    is_temporary_name,
    path_parts,
    temporary_name,
    vfs_error,
)

LONGEST = "/".join(["d" * 63] * (MAX_PATH_BYTES // 64)) + "/"
NAMES = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("", ()),
        ("a", ("a",)),
        ("a/b/c", ("a", "b", "c")),
        ("...", ("...",)),
        ("a..", ("a..",)),
        ("..a/.b", ("..a", ".b")),
        (" / ", (" ", " ")),
        ("a\\..\\b", ("a\\..\\b",)),
        ("%2e%2e", ("%2e%2e",)),
        ("\uff0e\uff0e", ("\uff0e\uff0e",)),
        ("\u2024\u2024/\u2215", ("\u2024\u2024", "\u2215")),
        ("a\n", ("a\n",)),
        ("n" * MAX_NAME_BYTES, ("n" * MAX_NAME_BYTES,)),
        ("é" * 127, ("é" * 127,)),
    ],
)
def test_a_canonical_path_is_taken_apart(path: str, parts: tuple[str, ...]) -> None:
    assert path_parts(path) == parts


@pytest.mark.parametrize(
    "path", ["/", "/a", "//", "..", "../a", "a/..", "a/../b", "a/b/..", "/..", "\0/..", "../\0"]
)
def test_a_path_denied_when_it_leads_outside(path: str) -> None:
    with pytest.raises(PathEscapeError) as caught:
        path_parts(path)
    assert caught.value.rule == "vfs.beneath"


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(".", id="dot"),
        pytest.param("./a", id="dot-first"),
        pytest.param("a/.", id="dot-last"),
        pytest.param("a/", id="slash-last"),
        pytest.param("a//b", id="empty-part"),
        pytest.param("a\0", id="nul"),
        pytest.param("\0", id="only-nul"),
        pytest.param("n" * (MAX_NAME_BYTES + 1), id="long-name"),
        pytest.param("é" * 128, id="long-in-bytes"),
        pytest.param(LONGEST + "x", id="long-path"),
        pytest.param("/".join(["é" * 60] * 40), id="long-path-in-bytes"),
        pytest.param("\udcff", id="undecodable"),
        pytest.param("a/\ud83d", id="half-a-pair"),
    ],
)
def test_a_path_refused_for_its_form(path: str) -> None:
    with pytest.raises(VfsError) as caught:
        path_parts(path)
    assert caught.value.code == "vfs.invalid-path"
    assert len(caught.value.message) < 500


def test_the_longest_path_is_one() -> None:
    path = LONGEST.rstrip("/") + "x" * 1
    assert len(path.encode()) == MAX_PATH_BYTES
    assert len(path_parts(path)) == MAX_PATH_BYTES // 64


@given(st.lists(NAMES.filter(lambda name: name not in {".", ".."}), min_size=1, max_size=8))
def test_names_come_back_as_they_were(parts: list[str]) -> None:
    assert path_parts("/".join(parts)) == tuple(parts)


@given(st.text(st.sampled_from("./a\0"), max_size=12))
def test_what_is_taken_apart_stays_below(text: str) -> None:
    try:
        parts = path_parts(text)
    except (PathEscapeError, VfsError):
        return
    assert "/".join(parts) == text
    assert not {"", ".", ".."} & set(parts)
    assert "\0" not in text


@pytest.mark.parametrize("token", ["a", "0", "Zz9", "x" * 32])
def test_a_temporary_is_known_by_its_name(token: str) -> None:
    name = temporary_name(token)
    assert is_temporary_name(name)
    assert path_parts(name) == (name,)
    assert name.endswith(token)


@pytest.mark.parametrize("token", ["", "x" * 33, "../x", "a/b", "a-b", "a b", "a\n", "é", "\u0661"])
def test_a_token_refused_when_it_is_more_than_letters_and_digits(token: str) -> None:
    with pytest.raises(VfsError) as caught:
        temporary_name(token)
    assert caught.value.code == "vfs.invalid-path"


@pytest.mark.parametrize("name", ["a", ".astrid", "astrid-tmp-a", "a.astrid-tmp-b", ""])
def test_other_names_are_no_temporaries(name: str) -> None:
    assert not is_temporary_name(name)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.EACCES, "vfs.access"),
        (errno.EPERM, "vfs.access"),
        (errno.EROFS, "vfs.read-only"),
        (errno.EISDIR, "vfs.is-directory"),
        (errno.ENOTDIR, "vfs.not-directory"),
        (errno.ENOTEMPTY, "vfs.not-empty"),
        (errno.EEXIST, "vfs.already-exists"),
        (errno.EXDEV, "vfs.cross-vfs"),
        (errno.EAGAIN, "vfs.would-block"),
        (errno.ENOSPC, "vfs.quota"),
        (errno.EMFILE, "vfs.quota"),
        (errno.EFBIG, "vfs.too-large"),
        (errno.ENAMETOOLONG, "vfs.invalid-path"),
        (errno.EINVAL, "vfs.invalid-path"),
        (errno.ELOOP, "vfs.link"),
        (errno.ENOTSUP, "vfs.unsupported"),
        (errno.EIO, "vfs.failed"),
        (errno.ESTALE, "vfs.failed"),
        (None, "vfs.failed"),
    ],
)
def test_what_the_system_answers_is_translated(number: int | None, code: str) -> None:
    error = OSError() if number is None else OSError(number, os.strerror(number), "/srv/secret")
    found = vfs_error(error)
    assert found.code == code
    assert "/srv" not in f"{found!r} {found}"


def test_what_is_missing_is_its_own_class() -> None:
    found = vfs_error(FileNotFoundError(errno.ENOENT, "gone", "/srv/secret"))
    assert isinstance(found, VfsNotFoundError)
    assert found.code == "vfs.not-found"
    assert "/srv" not in f"{found!r} {found}"


@given(st.integers(1, 140))
def test_every_translation_is_a_code_of_the_contract(number: int) -> None:
    assert vfs_error(OSError(number, "")).code in VFS_CODES
