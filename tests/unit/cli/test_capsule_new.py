"""A new project: the directory that a builder writes into, and what is left when it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from astrid_core.cli.capsule_project import scaffolded
from astrid_hookspecs.builders import BuildResult, Finding
from astrid_hookspecs.engines import Progress
from astrid_hookspecs.errors import CapsuleError, ConfigError


class NoteBuilder:
    """A builder that writes one file, as the contract lets it: the directory is there."""

    def __init__(self, problem: Exception | None = None) -> None:
        self._problem = problem

    def detects(self, project: Path) -> bool:
        return (project / "note.txt").exists()

    def build(self, project: Path, staging: Path, *, progress: Progress | None) -> BuildResult:
        raise CapsuleError(f"{project} {staging} {progress}", code="capsule.build")

    def check(self, project: Path) -> list[Finding]:
        del project
        return []

    def scaffold(self, target: Path, *, name: str) -> list[Path]:
        if self._problem is not None:
            raise self._problem
        (target / "note.txt").write_text(name)
        return [Path("note.txt")]


def test_the_builder_finds_its_directory_made(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "notes"
    assert scaffolded(NoteBuilder(), target, name="notes") == [Path("note.txt")]
    assert (target / "note.txt").read_text() == "notes"


def test_a_directory_with_something_in_it_is_left_alone_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(CapsuleError) as caught:
        scaffolded(NoteBuilder(), tmp_path, name="notes")
    assert caught.value.code == "capsule.exists"
    assert scaffolded(NoteBuilder(), tmp_path, name="notes", force=True)


def test_a_name_that_is_none_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        scaffolded(NoteBuilder(), tmp_path / "a" / "b", name="a/b")
    assert caught.value.code == "capsule.invalid-id"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (CapsuleError("no", code="capsule.name"), "capsule.name"),
        (PermissionError(13, "Permission denied"), "capsule.scaffold"),
    ],
)
def test_what_the_builder_refuses_leaves_no_empty_directory(
    tmp_path: Path, problem: Exception, code: str
) -> None:
    with pytest.raises(CapsuleError) as caught:
        scaffolded(NoteBuilder(problem), tmp_path / "notes", name="notes")
    assert caught.value.code == code
    assert list(tmp_path.iterdir()) == []
