"""`astrid capsule new`, `build` and `test`: the author's side."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astrid_core.cli.capsule_findings import show_findings
from astrid_core.cli.capsule_session import plugin_registry
from astrid_core.cli.output import Output, current, describe
from astrid_core.domain.archive_rules import MANIFEST, MIB
from astrid_core.domain.manifest import parse_manifest
from astrid_core.kernel.build import built, find_builder, named_builder
from astrid_core.kernel.install.content import read_inside
from astrid_core.kernel.install.pack import pack_capsule
from astrid_hookspecs.builders import BuildResult, CapsuleBuilder, Finding
from astrid_hookspecs.errors import CapsuleError
from astrid_hookspecs.exits import EXIT_OK, EXIT_RUNTIME
from astrid_hookspecs.values import parse_capsule_id

if TYPE_CHECKING:
    from astrid_core.pluginhost.registry import Registry

ProjectArgument = Annotated[Path, typer.Argument(help="The capsule's project directory.")]


@describe(example="astrid capsule new weather")
def new_project(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and single hyphens.")],
    *,
    kind: Annotated[str, typer.Option("--kind", help="Builder to use.")] = "python",
    path: Annotated[
        Path | None, typer.Option("--path", help="Parent directory; the current one by default.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write into a directory that is not empty.")
    ] = False,
) -> None:
    """Create a capsule project that builds, passes its test and runs as it is."""
    output = current()
    builder = named_builder(plugin_registry(), kind)
    target = (path or Path()) / name
    files = scaffolded(builder, target, name=name, force=force)
    commands = [
        f"cd {target}",
        "astrid capsule build",
        f"astrid capsule install dist/{name}.capsule",
    ]

    def text() -> str:
        shown = "\n".join(f"  {target / file}" for file in files)
        return f"{shown}\n\nnext:\n" + "\n".join(f"  {command}" for command in commands)

    output.success(f"created {name}")
    output.result({"name": name, "directory": target, "files": files, "next": commands}, text=text)


def scaffolded(
    builder: CapsuleBuilder, target: Path, *, name: str, force: bool = False
) -> list[Path]:
    """Have a builder write a project into `target`, which is made where it is missing.

    Raises:
        ConfigError: `capsule.invalid-id`, before anything is made.
        CapsuleError: `capsule.exists`; `capsule.scaffold`; whatever the builder finds wrong.
    """
    if not force and target.is_dir() and any(target.iterdir()):
        raise CapsuleError(
            f"{target} is not empty", code="capsule.exists", hint="--force writes into it anyway"
        )
    parse_capsule_id(name)
    existed = target.exists()
    try:
        target.mkdir(parents=True, exist_ok=True)
        return builder.scaffold(target, name=name)
    except OSError as error:
        raise CapsuleError(
            f"{target} cannot be written: {error.strerror}", code="capsule.scaffold"
        ) from error
    finally:
        if not existed and target.is_dir() and not any(target.iterdir()):
            target.rmdir()


@describe(example="astrid capsule build ./weather")
def build_project(
    project: ProjectArgument = Path(),
    *,
    directory: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write; PROJECT/dist by default.")
    ] = None,
) -> None:
    """Check a project, build it and write NAME.capsule."""
    output = current()
    project = project.absolute()
    registry = plugin_registry()
    target = directory or project / "dist"
    with build_into(registry, project, output=output) as result:
        text = read_inside(result.directory, MANIFEST, limit=MIB, what="the manifest")
        manifest = parse_manifest(text, path=f"{project / MANIFEST} (as built)")
        target.mkdir(parents=True, exist_ok=True)
        packed = pack_capsule(result.directory, target / f"{manifest.name}.capsule")
    tools = [f"{manifest.name}.{tool}" for tool in manifest.tool_names]
    if packed.is_large:
        output.warning(f"{packed.path.name} has {_mib(packed.size_bytes)}, which is a lot to carry")
    output.success(
        f"{'built from cache' if result.from_cache else 'built'} "
        f"{manifest.name} {manifest.package.version}, {_mib(packed.size_bytes)}"
    )
    output.result(
        {
            "name": manifest.name,
            "version": str(manifest.package.version),
            "path": packed.path,
            "size_bytes": packed.size_bytes,
            "digest": packed.digest,
            "from_cache": result.from_cache,
            "tools": tools,
        },
        text=f"  archive  {packed.path}" + (f"\n  tools    {', '.join(tools)}" if tools else ""),
    )


@contextmanager
def build_into(registry: Registry, project: Path, *, output: Output) -> Iterator[BuildResult]:
    """Check and build a source tree; a directory that needs no building is taken as it is.

    Raises:
        CapsuleError: `capsule.check`: the checker found errors, which have been shown, as
            warnings are; `capsule.build`; `capsule.no-builder`.
    """
    if not project.is_dir():
        raise not_a_directory(project)
    builder = find_builder(registry, project)
    if builder is None and _is_built(project):
        yield BuildResult(project, from_cache=False)
        return
    if builder is not None:
        checked(builder.check(project), output=output)
    with ExitStack() as stack:
        with output.progress() as progress:
            result = stack.enter_context(built(registry, project, progress=progress))
        yield result


def checked(findings: Sequence[Finding], *, output: Output) -> None:
    """Show what a checker found.

    Raises:
        CapsuleError: `capsule.check`: there are errors among it.
    """
    show_findings(findings, output=output)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise CapsuleError(
            f"{errors[0].file}:{errors[0].line or 1}: {errors[0].message}",
            code="capsule.check",
            hint="`astrid capsule check` lists every finding",
        )


def not_a_directory(project: Path) -> CapsuleError:
    """What is said when a project is not there."""
    if project.exists():
        return CapsuleError(
            f"{project} is a file, not a project's directory",
            code="capsule.source",
            hint="give the directory that has its Capsule.toml",
        )
    return CapsuleError(
        f"there is no directory {project}",
        code="capsule.source",
        hint="`astrid capsule new NAME` starts a project",
    )


def _is_built(project: Path) -> bool:
    """Whether the directory can be installed as it is: a manifest and what it says is executed.

    Raises:
        ManifestError: The manifest is refused.
    """
    path = project / MANIFEST
    if not path.is_file():
        return False
    manifest = parse_manifest(path.read_bytes(), path=str(path))
    is_source = (project / "pyproject.toml").is_file() or any(project.glob("*.wat"))
    if manifest.component is None:
        return not is_source
    return (project / manifest.component.file).is_file()


def _mib(size: int) -> str:
    return f"{size / MIB:.1f} MiB" if size >= MIB else f"{size / 1024:.1f} KiB"


@describe(example="astrid capsule test ./weather")
def run_tests(
    project: ProjectArgument = Path(),
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Passed on to pytest, such as -q or -k NAME.")
    ] = None,
) -> None:
    """Run a project's tests against an in-memory host; nothing is built or installed."""
    output = current()
    if str(project).startswith("-"):  # an option of pytest, and no project
        arguments, project = [str(project), *(arguments or [])], Path()
    project = project.absolute()
    if not project.is_dir():
        raise not_a_directory(project)
    if importlib.util.find_spec("pytest") is None:
        raise CapsuleError(
            "running tests needs pytest", code="capsule.no-pytest", hint="run: pip install pytest"
        )
    source = project / "src"
    search_path = [str(source)] if source.is_dir() else [str(project)]
    search_path += filter(None, [os.environ.get("PYTHONPATH")])
    with tempfile.TemporaryDirectory(prefix="astrid-test-") as cache:
        command = [sys.executable, "-m", "pytest", "-o", f"cache_dir={cache}", *(arguments or [])]
        ended = subprocess.run(  # noqa: S603 - the author's own tests, on the author's request
            command,
            cwd=project,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(search_path)},
            check=False,
            # Under --json the test report is no result; it goes where progress goes.
            stdout=sys.stderr.fileno() if output.is_json else None,
        )
    passed = ended.returncode == 0
    output.result({"ok": passed, "exit_status": ended.returncode}, text="")
    raise typer.Exit(EXIT_OK if passed else EXIT_RUNTIME)
