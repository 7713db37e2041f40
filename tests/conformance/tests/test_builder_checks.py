"""Each check of capsule builders rejects a builder that breaks just that promise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from astrid_conformance.check import Outcome, run_check
from astrid_conformance.checks.capsule_builder import CAPSULE_BUILDER, MANIFEST, builder_subject
from astrid_conformance.suites import CapsuleBuilderConformance
from astrid_hookspecs.builders import BuildResult, CapsuleBuilder, Finding
from astrid_hookspecs.engines import Progress
from astrid_hookspecs.errors import CapsuleError


class Builder:
    """A correct builder of projects that consist of a manifest."""

    def detects(self, project: Path) -> bool:
        return (project / MANIFEST).is_file()

    def build(self, project: Path, staging: Path, *, progress: Progress | None) -> BuildResult:
        del progress
        if not self.detects(project):
            raise CapsuleError(f"{project} is no project", code="capsule.build")
        (staging / MANIFEST).write_text((project / MANIFEST).read_text())
        (staging / "component.wasm").write_bytes(b"\0asm\x0d\0\x01\0")
        return BuildResult(staging, from_cache=False)

    def check(self, project: Path) -> list[Finding]:
        del project
        return []

    def scaffold(self, target: Path, *, name: str) -> list[Path]:
        (target / MANIFEST).write_text(f'[package]\nname = "{name}"\n')
        return [Path(MANIFEST)]


class DetectsEverything(Builder):
    def detects(self, project: Path) -> bool:
        return project.is_dir()


class ForgetsAFile(Builder):
    def scaffold(self, target: Path, *, name: str) -> list[Path]:
        (target / "extra.txt").touch()
        return super().scaffold(target, name=name)


class FindsErrors(Builder):
    def check(self, project: Path) -> list[Finding]:
        return [Finding("always", "error", "something is wrong", str(project))]


class WritesBeside(Builder):
    def scaffold(self, target: Path, *, name: str) -> list[Path]:
        (target.parent / "notes.txt").touch()
        return super().scaffold(target, name=name)


class BuildsAnything(Builder):
    def build(self, project: Path, staging: Path, *, progress: Progress | None) -> BuildResult:
        self.scaffold(project, name="made-up")
        return super().build(project, staging, progress=progress)


class StagesNoComponent(Builder):
    def build(self, project: Path, staging: Path, *, progress: Progress | None) -> BuildResult:
        result = super().build(project, staging, progress=progress)
        (staging / "component.wasm").unlink()
        return result


BROKEN: dict[str, Callable[[], CapsuleBuilder]] = {
    "foreign-directories-are-not-detected": DetectsEverything,
    "a-scaffold-is-a-project": ForgetsAFile,
    "a-scaffold-has-no-errors": FindsErrors,
    "scaffolds-stay-in-their-directory": WritesBeside,
    "a-foreign-directory-is-not-built": BuildsAnything,
    "a-scaffold-can-be-built": StagesNoComponent,
}


def test_every_check_has_a_broken_builder() -> None:
    assert {check.name for check in CAPSULE_BUILDER} == set(BROKEN)


@pytest.mark.parametrize("name", BROKEN)
def test_the_check_rejects_a_builder_that_breaks_it(name: str, tmp_path: Path) -> None:
    result = run_check(
        CAPSULE_BUILDER.named(name),
        lambda: builder_subject(BROKEN[name], tmp_path),
        supports=("build",),
    )
    assert result.outcome is Outcome.FAILED


class TestBuilder(CapsuleBuilderConformance):
    supports = frozenset({"build"})

    def make(self) -> CapsuleBuilder:
        return Builder()
