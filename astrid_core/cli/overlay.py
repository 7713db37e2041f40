"""`astrid overlay`: what agents changed in the workspace, and whether it reaches the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from astrid_core.cli.capsule_session import workspace
from astrid_core.cli.context import home_path
from astrid_core.cli.output import Output, current, describe
from astrid_hookspecs.errors import ConfigError, VfsError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, parse_principal

if TYPE_CHECKING:
    from astrid_core.kernel.mounts.changes import FileDiff, WorkspaceChanges
    from astrid_hookspecs.vfs import CommitReport, OverlayChange

app = typer.Typer(
    help="Show what agents changed in the workspace, commit it to the disk, or forget it.",
    add_completion=False,
)

PathsArgument = Annotated[
    list[Path] | None,
    typer.Argument(help="Files and directories of the workspace; all changes by default."),
]
PrincipalOption = Annotated[str, typer.Option("--principal", help="Whose changes.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

_HEADERS: Final = ("CHANGE", "PATH", "SIZE", "NOTE")
_LINE_COLOURS: Final = {"+": "32", "-": "31", "@": "36"}
_RUNS_BY_ITSELF: Final = (".git/", ".astrid/", ".github/", ".vscode/", ".idea/")
"""What lies below these is run or believed by tools of the person, without being asked for."""


@app.command("status")
@describe(example="astrid overlay status")
def status(paths: PathsArgument = None, *, principal: PrincipalOption = DEFAULT_PRINCIPAL) -> None:
    """List what would change on the disk."""
    output = current()
    with _changes(principal) as (changes, root):
        found = changes.status(_canonical(paths, root))
    output.result([_row(change) for change in found], text=lambda: _table(found, output))


@app.command("diff")
@describe(example="astrid overlay diff")
def diff(paths: PathsArgument = None, *, principal: PrincipalOption = DEFAULT_PRINCIPAL) -> None:
    """Show the changes as a unified diff."""
    output = current()
    with _changes(principal) as (changes, root):
        found = list(changes.diff(_canonical(paths, root)))
    rows = [
        {**_row(item.change), "diff": "\n".join(item.lines), "note": item.note} for item in found
    ]
    output.result(rows, text="" if found else "no changes")
    output.styled((line, _colour(line)) for item in found for line in _diff_lines(item))


@app.command("commit")
@describe(example="astrid overlay commit --yes")
def commit(
    paths: PathsArgument = None,
    *,
    principal: PrincipalOption = DEFAULT_PRINCIPAL,
    yes: YesOption = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also over files that changed on the disk.")
    ] = False,
) -> None:
    """Bring changes to the disk, each file in one step.

    Nothing is committed when a file changed on the disk since the agent first changed it.
    """
    output = current()
    with _changes(principal) as (changes, root):
        selection = _canonical(paths, root)
        found = changes.status(selection)
        _show(found, output)
        if not found or not output.confirm(_question(found, root), assume_yes=yes):
            output.result({"committed": [], "conflicts": [], "failed": []}, text="")
            return
        report = changes.commit([change.path for change in found], overwrite=overwrite)
    for path in report.committed:
        output.detail(path)
    output.success(f"{len(report.committed)} of {len(found)} changes are on the disk")
    _report(report, output)


@app.command("rollback")
@describe(example="astrid overlay rollback --yes")
def rollback(
    paths: PathsArgument = None,
    *,
    principal: PrincipalOption = DEFAULT_PRINCIPAL,
    yes: YesOption = False,
) -> None:
    """Forget changes; the disk is not touched."""
    output = current()
    with _changes(principal) as (changes, root):
        selection = _canonical(paths, root)
        found = changes.status(selection)
        _show(found, output)
        question = f"Forget {_count(found)} for good"
        if not found or not output.confirm(question, assume_yes=yes):
            output.result({"forgotten": []}, text="")
            return
        forgotten = changes.rollback(selection)
    output.success(f"forgot {len(forgotten)} changes")
    output.result({"forgotten": forgotten}, text="")


@contextmanager
def _changes(principal: str) -> Iterator[tuple[WorkspaceChanges, Path]]:
    """A principal's changes of the project around the current directory; the home is locked."""
    from astrid_core.kernel.assembly import assemble, changes_of  # noqa: PLC0415 - loads the kernel

    who = parse_principal(principal)
    root = workspace().resolve()
    parts = assemble(home_path(), workspace=root)
    try:
        yield changes_of(parts, who), root
    finally:
        parts.release.close()


def _canonical(paths: Sequence[Path] | None, root: Path) -> list[str]:
    """Paths as a person types them, relative to the workspace; links are not followed."""
    found = []
    for path in paths or ():
        plain = Path(os.path.normpath(Path.cwd().resolve() / path))
        if plain != root and root not in plain.parents:
            raise ConfigError(
                f"{path} is not in the workspace {root}",
                code="overlay.path",
                hint="name files below the project directory",
            )
        found.append("" if plain == root else plain.relative_to(root).as_posix())
    return found


def _row(change: OverlayChange) -> dict[str, Any]:
    return {**change._asdict(), "sensitive": _is_sensitive(change.path)}


def _is_sensitive(path: str) -> bool:
    return any(f"/{place}" in f"/{path}/" for place in _RUNS_BY_ITSELF)


def _table(found: Sequence[OverlayChange], output: Output) -> str:
    if not found:
        return "no changes"
    rows = [
        (
            change.change,
            change.path,
            "-" if change.kind != "regular" else change.size,
            _note(change),
        )
        for change in found
    ]
    return output.table(_HEADERS, rows)


def _note(change: OverlayChange) -> str:
    notes: list[str] = [] if change.kind == "regular" else [change.kind]
    if change.conflict:
        notes.append("changed on the disk as well")
    if _is_sensitive(change.path):
        notes.append("other tools act on this file by themselves")
    return "; ".join(notes)


def _show(found: Sequence[OverlayChange], output: Output) -> None:
    if not output.is_json:
        typer.echo(_table(found, output), err=True)
    for change in found:
        if _is_sensitive(change.path):
            output.warning(f"{change.path}: other tools act on this file by themselves; read it")


def _question(found: Sequence[OverlayChange], root: Path) -> str:
    return f"Write {_count(found)} to {root}"


def _count(found: Sequence[OverlayChange]) -> str:
    return "1 change" if len(found) == 1 else f"{len(found)} changes"


def _report(report: CommitReport, output: Output) -> None:
    output.result(report._asdict(), text="")
    for path, reason in report.failed:
        output.warning(f"{path}: {reason}")
    if report.conflicts:
        raise VfsError(
            f"changed on the disk since, so not committed: {', '.join(report.conflicts)}",
            code="overlay.conflict",
            hint="compare with 'astrid overlay diff', then commit other paths, roll these back, or "
            "add --overwrite",
        )
    if report.failed:
        raise VfsError(f"{len(report.failed)} changes could not be written", code="overlay.failed")


def _diff_lines(item: FileDiff) -> Iterator[str]:
    if item.note:
        yield f"{item.change.change} {item.change.path} ({item.note})"
    yield from item.lines


def _colour(line: str) -> str | None:
    return "1" if line.startswith(("+++ ", "--- ")) else _LINE_COLOURS.get(line[:1])
