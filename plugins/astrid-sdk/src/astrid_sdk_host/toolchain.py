"""Turn a staged Python tree into a component, with componentize-py in a child process."""

from __future__ import annotations

import ast
import importlib.metadata
import re
from pathlib import Path
from typing import Final

from astrid_hookspecs.engines import Progress
from astrid_hookspecs.errors import CapsuleError
from astrid_sdk_host.inspection import SourceError
from astrid_sdk_host.processes import Expectation, Finished, python_command, run_child
from astrid_sdk_host.project import Project, build_error
from astrid_sdk_host.world import WORLD

TOOL: Final = "componentize-py"
ENTRY: Final = "astrid_entry"
USUAL_S: Final = 8.0
EXTENSION: Final = Path(__file__).with_name("image.wat")
"""Text of the native module that `astrid_sdk.image` uses."""
_TIMEOUT_S: Final = 300.0
_EXTENSION_FILE: Final = "_astrid_image.cpython-314-wasm32-wasi.so"
"""The tag is part of it: an interpreter of another version, with other layouts, does not see it."""
_START: Final = "import sys; from componentize_py import script; sys.exit(script())"
_ENTRY_TEXT: Final = '''"""Start module of the component, written by the build."""

from astrid_sdk import guest

guest.start({package!r}, late={late!r})
WitWorld = guest.WitWorld
'''


def tool_version() -> str:
    """Version of componentize-py, without loading it.

    Raises:
        CapsuleError: `capsule.build`: it is not installed.
    """
    try:
        return importlib.metadata.version(TOOL)
    except importlib.metadata.PackageNotFoundError as error:
        raise build_error(f"{TOOL} is not installed", hint=f"pip install {TOOL}") from error


def write_entry(directory: Path, *, package: str) -> None:
    """Write the module that the component starts with.

    Modules that functions of the staged tree import are imported from here: a running component
    has no files to import from.
    """
    late: set[str] = set()
    for path in sorted(directory.rglob("*.py")):
        parts = path.relative_to(directory).with_suffix("").parts
        if parts[0] != "astrid_sdk":
            late |= _late_imports(path, parts)
    text = _ENTRY_TEXT.format(package=package, late=sorted(late))
    (directory / f"{ENTRY}.py").write_text(text, encoding="utf-8")


def write_extension(directory: Path) -> None:
    """Write the native module that the SDK uses while a component is built."""
    from wasmtime import wat2wasm  # noqa: PLC0415 - a large library, used here

    (directory / _EXTENSION_FILE).write_bytes(wat2wasm(EXTENSION.read_text(encoding="utf-8")))


def _late_imports(path: Path, parts: tuple[str, ...]) -> set[str]:
    """Absolute names of what functions of a module import."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # the tool reports it, with the line
        return set()
    base = parts[:-1]
    found: set[str] = set()
    functions = (
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    for node in (inner for function in functions for inner in ast.walk(function)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parent = base[: len(base) - node.level + 1] if node.level else ()
            name = ".".join([*parent, *([node.module] if node.module else [])])
            found |= {name, *(f"{name}.{alias.name}" for alias in node.names)}
    return {name for name in found if name and not name.endswith(".*")}


def componentize(
    *,
    tree: Project,
    python: Path,
    wit: Path,
    output: Path,
    expect: Expectation,
    progress: Progress | None,
) -> float:
    """Make the component; returns the seconds it took.

    Args:
        tree: The project, to name the author's files in errors.
        python: The staged tree, with the entry module.
        wit: The WIT directory.
        output: File to write.
        expect: For the progress reports.
        progress: Where to report.

    Raises:
        SourceError: `capsule.build`: the author's code failed inside the component.
        CapsuleError: `capsule.build`, with the tool's own message.
    """
    # Given an environment of its own, the tool does not add the packages of this interpreter.
    empty = output.parent / "no-packages"
    (empty / "lib" / "site-packages").mkdir(parents=True)
    # It unpacks a standard library of its own, which stays where it is when the tool is killed.
    unpacked = output.parent / "unpacked"
    unpacked.mkdir()
    arguments = ["-d", str(wit), "-w", WORLD, "--full-names", "componentize", "--stub-wasi"]
    arguments += ["-p", str(python), ENTRY, "-o", str(output)]
    finished = run_child(
        python_command("-c", _START, *arguments),
        directory=output.parent,
        timeout_s=_TIMEOUT_S,
        environment={
            "VIRTUAL_ENV": str(empty),
            "PYTHONHASHSEED": "0",
            "TMPDIR": str(unpacked),
        },
        expect=expect,
        progress=progress,
    )
    if finished.status != 0 or not output.is_file():
        raise tool_error(tree, finished)
    return finished.seconds


def tool_error(tree: Project, finished: Finished) -> CapsuleError:
    """What went wrong, at the author's line if it was their code.

    What imports on the builder's own machine may still be missing inside a component.
    """
    reason = _reason(finished.output)
    output = finished.output.strip()[-4000:] or None
    package = re.escape(tree.package)
    frames = re.findall(rf'File "/\d+/({package}(?:/[^"]+|\.py))", line (\d+)', finished.output)
    if not frames:
        return build_error(f"{TOOL} failed with status {finished.status}: {reason}", hint=output)
    file, line = tree.relative(str(tree.search_path / frames[-1][0])), int(frames[-1][1])
    message = f"{file}:{line}: inside a component: {reason}"
    return SourceError(message, file=file, line=line, hint=output)


def _reason(output: str) -> str:
    """The line that says why: the last exception of a traceback, else the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[A-Za-z_.]+(Error|Exception)\b", line)]
    return (errors or lines or ["no message"])[-1]
