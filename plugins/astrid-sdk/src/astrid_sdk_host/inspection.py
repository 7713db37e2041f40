"""Find out what a capsule declares, by importing it in a process of its own.

The child runs the author's code with the rights of whoever builds, as every Python build does;
build only what you would run. It sees the standard library, the SDK, and the project, nothing
else, so that what imports here imports in the component as well.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from astrid_hookspecs.errors import CapsuleError
from astrid_sdk_host.processes import python_command, run_child
from astrid_sdk_host.project import BUILD_CODE, Project, build_error

_TIMEOUT_S: Final = 60.0
_START: Final = (
    "import sys; from runpy import run_module; "
    "sys.path.insert(0, sys.argv.pop(1)); run_module('astrid_sdk.describe', run_name='__main__')"
)


class SourceError(CapsuleError):
    """The capsule's own code failed while it was imported.

    Args:
        message: Type and text of the exception, and where it was raised.
        file: Relative to the project, or None.
        line: From 1, or None.
        hint: What to do.
    """

    default_code = BUILD_CODE

    def __init__(
        self, message: str, *, file: str | None, line: int | None, hint: str | None = None
    ) -> None:
        super().__init__(message, code=BUILD_CODE, hint=hint)
        self.file = file
        self.line = line


def sdk_directory() -> Path:
    """Where the guest side of the SDK lies."""
    import astrid_sdk  # noqa: PLC0415 - only its place is wanted, and only here

    return Path(astrid_sdk.__file__).resolve().parent


def read_declarations(project: Project, *, search_path: Sequence[Path]) -> dict[str, Any]:
    """What `astrid_sdk.describe` says about the project; places are relative to it.

    Args:
        project: The project.
        search_path: Directories to import from besides the SDK, the project's own first.

    Raises:
        SourceError: The code failed; names the author's line.
        CapsuleError: `capsule.build`: the child died.
    """
    with tempfile.TemporaryDirectory(prefix="astrid-describe-") as scratch:
        answer = Path(scratch) / "answer.json"
        directories = [str(path) for path in search_path]
        arguments = [project.package, str(answer), *directories]
        command = python_command("-S", "-B", "-c", _START, str(sdk_directory().parent), *arguments)
        finished = run_child(command, directory=project.root, timeout_s=_TIMEOUT_S)
        if not answer.is_file():
            raise build_error(
                f"reading the declarations of {project.name} ended with status {finished.status}",
                hint=finished.output.strip()[-2000:] or None,
            )
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    if "error" in found:
        raise _source_error(project, found["error"])
    capsule: dict[str, Any] = found["capsule"]
    for item in [*capsule["tools"], *capsule["subscribe"], *capsule["hooks"].values()]:
        place = item.get("place", item)
        if place:
            place["file"] = project.relative(place["file"])
    return capsule


def _source_error(project: Project, error: dict[str, Any]) -> SourceError:
    frames = error["frames"]
    for frame in frames:
        frame["file"] = project.relative(frame["file"])
    trace = "\n".join(
        f"  {frame['file']}:{frame['line']}: {frame['text'].strip()}" for frame in frames
    )
    place = f"{frames[-1]['file']}:{frames[-1]['line']}: " if frames else ""
    what = error["text"] if error["declaration"] else f"{error['type']}: {error['text']}"
    what = what.removeprefix(place.rpartition("/")[2])  # a declaration says it by itself
    hint = None
    if error["type"] in ("ModuleNotFoundError", "ImportError"):
        hint = "list what the capsule imports under [project] dependencies; pure Python only"
    return SourceError(
        f"{place}{what}" + (f"\n{trace}" if trace else ""),
        file=frames[-1]["file"] if frames else None,
        line=frames[-1]["line"] if frames else None,
        hint=hint,
    )
