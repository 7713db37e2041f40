from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrid_core.domain.archive_rules import (
    DEFAULT_LIMITS,
    ArchiveLimits,
    EntryLedger,
    check_name,
    fold_name,
    refuse,
)
from astrid_hookspecs.errors import ArchiveError

SMALL = ArchiveLimits(members=4, member_bytes=10, total_bytes=15, path_bytes=20, part_bytes=10)


def rule_of(caught: pytest.ExceptionInfo[ArchiveError]) -> str:
    return caught.value.code.removeprefix("capsule.archive.")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("Capsule.toml", ("Capsule.toml",)),
        ("./a/b", ("a", "b")),
        ("a/", ("a",)),
        (".", ()),
        ("./", ()),
        ("a..b/.hidden", ("a..b", ".hidden")),
        ("sub/meta.json", ("sub", "meta.json")),
        ("console.txt", ("console.txt",)),
        ("naïve/日本.md", ("naïve", "日本.md")),
        ("with space.txt", ("with space.txt",)),
    ],
)
def test_accepted_names(name: str, parts: tuple[str, ...]) -> None:
    assert check_name(name) == parts


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        pytest.param("../x", "name-parent", id="123-dotdot"),
        pytest.param("/x", "name-absolute", id="123-absolute"),
        ("/", "name-absolute"),
        (".//etc/passwd", "name-absolute"),
        ("a/../../x", "name-parent"),
        ("a/..", "name-parent"),
        ("..", "name-parent"),
        ("", "name-empty"),
        ("a//b", "name-dot"),
        ("a/./b", "name-dot"),
        ("././a", "name-dot"),
        ("a//", "name-dot"),
        ("..\\x", "name-backslash"),
        ("a\\b", "name-backslash"),
        ("C:/x", "name-drive"),
        ("file:stream", "name-drive"),
        ("a\nb", "name-control"),
        ("a\0b", "name-control"),
        ("\x1b[2Ja", "name-control"),
        ("a\x7f", "name-control"),
        ("a\u202egnp.exe", "name-control"),
        ("a\u200bb", "name-control"),
        ("a\u2028b", "name-control"),
        ("a\udc80", "name-control"),
        ("x" * 256, "name-too-long"),
        ("/".join(["x" * 100] * 6), "name-too-long"),
        ("é" * 128, "name-too-long"),
        ("/".join("abcdefghijklmnopq"), "name-too-deep"),
        ("a.", "name-trailing"),
        ("a /b", "name-trailing"),
        ("nul", "name-reserved"),
        ("sub/COM1.txt", "name-reserved"),
        ("aux .c", "name-reserved"),
        ("meta.json", "name-reserved"),
        ("META.json", "name-reserved"),
        ("meta.json/x", "name-reserved"),
        (".env.json", "name-reserved"),
    ],
)
def test_refused_names(name: str, rule: str) -> None:
    with pytest.raises(ArchiveError) as caught:
        check_name(name)
    assert rule_of(caught) == rule


@given(st.text(max_size=60))
def test_accepted_names_stay_inside(name: str) -> None:
    try:
        parts = check_name(name)
    except ArchiveError as error:
        assert error.message.isprintable()  # noqa: PT017 - both outcomes are checked
        assert error.message.isascii()  # noqa: PT017
        return
    assert all(part not in {"", ".", ".."} and "/" not in part for part in parts)
    assert all(part.isprintable() for part in parts)


@pytest.mark.parametrize(
    ("first", "second"),
    [("README.md", "readme.MD"), ("é.md", "e\u0301.md"), ("straße", "STRASSE"), ("ﬁ", "fi")],
)
def test_names_that_fold_together(first: str, second: str) -> None:
    assert fold_name(first) == fold_name(second)
    ledger = EntryLedger()
    ledger.admit(first, kind="file")
    with pytest.raises(ArchiveError) as caught:
        ledger.admit(second, kind="file")
    assert rule_of(caught) == "name-collision"


def test_directories_collide_too() -> None:
    ledger = EntryLedger()
    ledger.admit("Docs/a", kind="file")
    with pytest.raises(ArchiveError) as caught:
        ledger.admit("docs/b", kind="file")
    assert rule_of(caught) == "name-collision"


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        ((("a", "file"), ("a", "file")), "name-duplicate"),
        ((("a", "file"), ("./a", "file")), "name-duplicate"),
        ((("d", "directory"), ("d/", "directory")), "name-duplicate"),
        ((("Capsule.toml", "file"), ("Capsule.toml", "file")), "two-manifests"),
        ((("Capsule.toml", "file"), ("capsule.toml", "file")), "name-collision"),
        ((("a", "file"), ("a/b", "file")), "file-as-directory"),
        ((("a/b", "file"), ("a", "file")), "file-as-directory"),
        ((("a", "directory"), ("a", "file")), "file-as-directory"),
        ((("a/", "file"),), "name-dot"),
        (((".", "file"),), "name-dot"),
    ],
)
def test_entries_that_contradict_each_other(names: tuple[tuple[str, str], ...], rule: str) -> None:
    ledger = EntryLedger()
    for name, kind in names[:-1]:
        ledger.admit(name, kind=kind)  # type: ignore[arg-type]
    name, kind = names[-1]
    with pytest.raises(ArchiveError) as caught:
        ledger.admit(name, kind=kind)  # type: ignore[arg-type]
    assert rule_of(caught) == rule


def test_parents_may_follow_their_children() -> None:
    ledger = EntryLedger()
    ledger.admit("a/b/c", kind="file")
    ledger.admit("a/b/d", kind="file")
    assert ledger.admit("a/", kind="directory") == ("a",)
    assert ledger.admit("./", kind="directory") == ()


def test_limits_hold_at_the_boundary() -> None:
    ledger = EntryLedger(SMALL)
    ledger.admit("a", kind="file", size=10)
    ledger.admit("b", kind="file", size=5)
    with pytest.raises(ArchiveError) as caught:
        ledger.admit("c", kind="file", size=1)
    assert rule_of(caught) == "too-large"
    with pytest.raises(ArchiveError) as caught:
        ledger.admit("d", kind="file", size=11)
    assert rule_of(caught) == "member-too-large"
    with pytest.raises(ArchiveError) as caught:
        ledger.admit("e", kind="file")
    assert rule_of(caught) == "too-many-members"


def test_a_manifest_must_be_at_the_top() -> None:
    ledger = EntryLedger()
    ledger.admit("sub/Capsule.toml", kind="file")
    with pytest.raises(ArchiveError) as caught:
        ledger.finish()
    assert rule_of(caught) == "manifest-missing"
    ledger.admit("Capsule.toml", kind="file")
    ledger.finish()


def test_a_directory_is_no_manifest() -> None:
    ledger = EntryLedger()
    ledger.admit("Capsule.toml", kind="directory")
    with pytest.raises(ArchiveError, match="is a directory"):
        ledger.finish()


def test_messages_are_safe_to_print_and_short() -> None:
    error = refuse("\x1b[31m" + "x" * 1000, "kind", "is odd")
    assert error.message.isprintable()
    assert len(error.message) < 160
    assert DEFAULT_LIMITS.member_bytes == 64 * 1024 * 1024
