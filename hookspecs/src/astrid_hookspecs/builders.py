"""Capsule builders: turn a source tree into an installable directory, and scaffold new ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from astrid_hookspecs.engines import Progress
from astrid_hookspecs.markers import hookspec


class BuildResult(NamedTuple):
    """Outcome of a build.

    Attributes:
        directory: Staged capsule: `Capsule.toml`, the component, extra files.
        from_cache: Whether the component was reused because its inputs had not changed.
    """

    directory: Path
    from_cache: bool


class Finding(NamedTuple):
    """One remark of a static check.

    Attributes:
        rule: Lower-kebab identifier (`unrouted-tool`).
        severity: `error` or `warning`.
        message: What is wrong and what to do.
        file: Path relative to the project.
        line: 1-based, or None.
    """

    rule: str
    severity: str
    message: str
    file: str
    line: int | None = None


class CapsuleBuilder(Protocol):
    """Builds one kind of project."""

    def detects(self, project: Path) -> bool:
        """Whether `project` is a source tree of this kind."""
        ...

    def build(self, project: Path, staging: Path, *, progress: Progress | None) -> BuildResult:
        """Build `project` into the empty directory `staging`.

        Raises:
            CapsuleError: `capsule.build`, with the tool chain's own message.
        """
        ...

    def check(self, project: Path) -> list[Finding]:
        """Findings about the source tree, without building it; empty when all is well."""
        ...

    def scaffold(self, target: Path, *, name: str) -> list[Path]:
        """Write a new project into the directory `target`.

        Args:
            target: It exists, and is empty unless a person insisted on another.
            name: A valid capsule id; not yet checked against the rules of a language.

        Returns:
            The files, relative to `target`, in the order to show them. `Capsule.toml` is one of
            them and has the name; `detects` knows the project again, and `check` finds no error.
        """
        ...


@dataclass(frozen=True, slots=True)
class CapsuleBuilderRecord:
    """Declares a builder.

    Attributes:
        name: What `--kind` chooses (`python`).
        priority: Lower ones are asked first which project is theirs.
        factory: Heavy imports wait for it.
    """

    name: str
    priority: int
    factory: Callable[[], CapsuleBuilder]


@hookspec
def astrid_register_capsule_builders() -> Iterable[CapsuleBuilderRecord]:  # type: ignore[empty-body]
    """Declare capsule builders.

    Kind: declare. When: once, when a command first needs one.
    Returns: records; names unique over all plugins.
    Failure: an exception or a malformed record stops the command.
    Since: 1.0.
    """
