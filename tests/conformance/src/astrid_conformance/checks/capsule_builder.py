"""Checks for capsule builders: know what is theirs, scaffold cleanly, refuse clearly.

`astrid_hookspecs.builders`. Building a real project needs its tool chain, so it is the optional
capability `build`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from astrid_conformance.check import CheckList, require, require_equal, require_raises
from astrid_hookspecs.builders import CapsuleBuilder
from astrid_hookspecs.errors import CapsuleError

MANIFEST: Final = "Capsule.toml"


@dataclass(frozen=True)
class BuilderSubject:
    """A builder to check, and a directory for projects."""

    builder: CapsuleBuilder
    directory: Path

    def empty(self, name: str) -> Path:
        """A new empty directory."""
        path = self.directory / name
        path.mkdir()
        return path


@contextlib.contextmanager
def builder_subject(
    factory: Callable[[], CapsuleBuilder], directory: Path
) -> Iterator[BuilderSubject]:
    """A subject for one check."""
    yield BuilderSubject(factory(), directory)


CAPSULE_BUILDER: Final = CheckList[BuilderSubject]()


def _files(directory: Path) -> list[Path]:
    return sorted(p.relative_to(directory) for p in directory.rglob("*") if p.is_file())


@CAPSULE_BUILDER.required
def foreign_directories_are_not_detected(subject: BuilderSubject) -> None:
    """An empty directory, an absent one and one with other files are not its projects."""
    empty = subject.empty("empty")
    other = subject.empty("other")
    (other / "README.md").write_text("# Something else\n")
    for path in (empty, other, subject.directory / "absent"):
        require_equal(subject.builder.detects(path), False, f"detects {path.name}")


@CAPSULE_BUILDER.required
def a_scaffold_is_a_project(subject: BuilderSubject) -> None:
    """A new project has the files that were named, a manifest, and is recognised."""
    target = subject.empty("weather-station")
    files = subject.builder.scaffold(target, name="weather-station")
    require(files, "scaffold names no files")
    require(all(not path.is_absolute() for path in files), "scaffold names absolute paths")
    require_equal(sorted(files), _files(target), "the files that were named and written")
    require(Path(MANIFEST) in files, f"there is no {MANIFEST}")
    require("weather-station" in (target / MANIFEST).read_text(), "the manifest lacks the name")
    require_equal(subject.builder.detects(target), True, "detects a scaffold")


@CAPSULE_BUILDER.required
def a_scaffold_has_no_errors(subject: BuilderSubject) -> None:
    """The check of a new project finds no error and changes nothing."""
    target = subject.empty("weather")
    subject.builder.scaffold(target, name="weather")
    before = {path: (target / path).read_bytes() for path in _files(target)}
    errors = [f for f in subject.builder.check(target) if f.severity == "error"]
    require_equal(errors, [], "errors in a new project")
    after = {path: (target / path).read_bytes() for path in _files(target)}
    require(before == after, "checking changed the project")


@CAPSULE_BUILDER.required
def scaffolds_stay_in_their_directory(subject: BuilderSubject) -> None:
    """Nothing is written outside the target."""
    target = subject.empty("target")
    subject.builder.scaffold(target, name="target")
    require_equal([p.name for p in subject.directory.iterdir()], ["target"], "the directory")


@CAPSULE_BUILDER.required
def a_foreign_directory_is_not_built(subject: BuilderSubject) -> None:
    """Building what is no project is a `CapsuleError`, and stages nothing that looks built."""
    project, staging = subject.empty("project"), subject.empty("staging")
    (project / "README.md").write_text("# Something else\n")
    error = require_raises(
        CapsuleError,
        lambda: subject.builder.build(project, staging, progress=None),
        "building something else",
    )
    require(str(error), "an error without a message")
    require(not (staging / MANIFEST).exists(), "a manifest was staged for something else")


@CAPSULE_BUILDER.optional("build")
def a_scaffold_can_be_built(subject: BuilderSubject) -> None:
    """A new project builds into a directory with a manifest and a component."""
    target, staging = subject.empty("weather"), subject.empty("staging")
    subject.builder.scaffold(target, name="weather")
    result = subject.builder.build(target, staging, progress=None)
    require((result.directory / MANIFEST).is_file(), "no manifest was staged")
    component = b"\0asm\x0d\0\x01\0"
    staged = [p for p in result.directory.rglob("*") if p.is_file()]
    require(any(p.read_bytes()[:8] == component for p in staged), "no component was staged")
