"""Build a Python capsule: manifest, tool list and component from a source tree."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from blake3 import blake3

from astrid_hookspecs.builders import BuildResult, Finding
from astrid_hookspecs.engines import Progress
from astrid_sdk_host import checks, dependencies, scaffold, shrink, toolchain, world
from astrid_sdk_host.cache import BuildCache, Entry, cache_directory, digest_tree
from astrid_sdk_host.inspection import read_declarations, sdk_directory
from astrid_sdk_host.manifest import component_file, make_manifest
from astrid_sdk_host.processes import Expectation
from astrid_sdk_host.project import MANIFEST, Project, build_error, is_python_project, read_project

TOOLS_FILE: Final = "tools.json"
_FORMAT: Final = b"astrid-python-build-2"
_HOST_ONLY: Final = ("describe.py", "testing")
_LEFT_OUT: Final = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


class PythonCapsuleBuilder:
    """The `python` builder. Spec: `CapsuleBuilder`.

    Args:
        cache: Where components are kept; the user's cache directory by default.
    """

    def __init__(self, *, cache: BuildCache | None = None) -> None:
        self._cache = cache or BuildCache(cache_directory(os.environ))

    def detects(self, project: Path) -> bool:
        """Whether there is `[tool.astrid]`, or a `Capsule.toml` with Python below `src`."""
        return is_python_project(project)

    def build(self, project: Path, staging: Path, *, progress: Progress | None) -> BuildResult:
        """Build into `staging`: `Capsule.toml`, `tools.json`, the component, the author's extras.

        Runs the project's code in a child process to read its declarations.

        Raises:
            SourceError: `capsule.build`: the author's code failed; names the line.
            CapsuleError: `capsule.build`: another step failed, with the tool's own message.
        """
        tree = read_project(project)
        component_file(tree)  # refuse an unfit manifest before the long part
        extras = extra_files(tree)
        key = build_key(tree)
        entry = self._cache.find(key)
        from_cache = entry is not None
        if entry is None:
            entry = self._make(tree, key, progress)
        try:
            _stage(tree, entry, staging, extras=extras)
        except OSError as error:
            raise build_error(f"cannot write the staged capsule: {error.strerror}") from error
        if progress is not None:
            progress("built from cache" if from_cache else "built", 1.0)
        return BuildResult(staging, from_cache)

    def check(self, project: Path) -> list[Finding]:
        """Findings about sources and manifest, without building or running anything."""
        return checks.check_project(project)

    def scaffold(self, target: Path, *, name: str) -> list[Path]:
        """Write a new project.

        Raises:
            CapsuleError: `capsule.name`.
        """
        return scaffold.write_project(target, name=name)

    def _make(self, tree: Project, key: str, progress: Progress | None) -> Entry:
        if progress is not None:
            progress(f"reading {tree.package}", 0.0)
        with tempfile.TemporaryDirectory(prefix="astrid-build-") as scratch:
            work = Path(scratch)
            python = work / "python"
            search_path = [tree.search_path]
            python.mkdir()
            if tree.dependencies:
                dependencies.vendor(tree.dependencies, python, progress=progress)
                search_path.append(python)
            declared = read_declarations(tree, search_path=search_path)
            _stage_sources(tree, python)
            world.write_world(
                work / "wit", world.world_text(declared), packages=world.wit_packages()
            )
            usual = self._cache.duration(toolchain.TOOL, default=toolchain.USUAL_S)
            seconds = toolchain.componentize(
                tree=tree,
                python=python,
                wit=work / "wit",
                output=work / "component.wasm",
                expect=Expectation(f"building {component_file(tree)}", usual),
                progress=progress,
            )
            self._cache.note_duration(toolchain.TOOL, seconds)
            shrink.shrink_file(work / "component.wasm")
            try:
                return self._cache.keep(key, work / "component.wasm", {"declared": declared})
            except OSError as error:
                raise build_error(
                    f"cannot write the build cache: {error.strerror}",
                    hint="ASTRID_CACHE_DIR chooses another directory",
                ) from error


def _stage(tree: Project, entry: Entry, staging: Path, *, extras: list[str]) -> None:
    declared = entry.record["declared"]
    staging.mkdir(parents=True, exist_ok=True)
    (staging / MANIFEST).write_text(make_manifest(tree, declared), encoding="utf-8")
    shutil.copyfile(entry.component, staging / component_file(tree))
    tools = [
        {key: value for key, value in tool.items() if key != "place"} for tool in declared["tools"]
    ]
    listing = {"tools": tools, "description": declared["description"]}
    (staging / TOOLS_FILE).write_text(
        json.dumps(listing, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    for name in extras:
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tree.root / name, staging / name)


def build_key(tree: Project) -> str:
    """64 hex digits over everything that decides what the component becomes."""
    hasher = blake3(_FORMAT)
    for text in (toolchain.tool_version(), tree.package, *tree.dependencies):
        hasher.update(len(text).to_bytes(8, "big") + text.encode())
    try:
        digest_tree(hasher, tree.search_path, _sources(tree.source))
        digest_tree(hasher, sdk_directory(), _sdk_sources())
        digest_tree(hasher, world.wit_directory(), world.wit_packages())
        digest_tree(hasher, toolchain.EXTENSION.parent, [toolchain.EXTENSION])
    except OSError as error:
        raise build_error(f"cannot read {error.filename}: {error.strerror}") from error
    return hasher.hexdigest()


def _sources(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    return sorted(
        path
        for path in source.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and not _is_hidden(path, source)
    )


def _is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith((".", "__pycache__")) for part in path.relative_to(root).parts)


def _sdk_sources() -> list[Path]:
    root = sdk_directory()
    return [path for path in _sources(root) if path.relative_to(root).parts[0] != "testing"]


def _stage_sources(tree: Project, python: Path) -> None:
    """Put capsule, SDK and start module side by side; nothing else is visible in the component."""
    if tree.source.is_file():
        shutil.copyfile(tree.source, python / tree.source.name)
    else:
        shutil.copytree(tree.source, python / tree.package, ignore=_LEFT_OUT, dirs_exist_ok=True)
    guest_only = shutil.ignore_patterns("__pycache__", *_HOST_ONLY)
    shutil.copytree(sdk_directory(), python / "astrid_sdk", ignore=guest_only, dirs_exist_ok=True)
    toolchain.write_entry(python, package=tree.package)
    toolchain.write_extension(python)


def extra_files(tree: Project) -> list[str]:
    """Files the author's manifest names, which therefore belong to the capsule.

    Raises:
        CapsuleError: `capsule.build`: one lies outside the project, or does not exist.
    """
    package = tree.manifest.get("package", {})
    names = [package.get("readme"), package.get("license-file")]
    for key in ("context_file", "skill", "command"):
        names += [entry.get("file") for entry in tree.manifest.get(key, [])]
    found = []
    for name in names:
        if not isinstance(name, str):
            continue
        path = Path(name)
        if path.is_absolute() or ".." in path.parts:
            raise build_error(f"{MANIFEST} names {name!r}: files must lie inside the project")
        if not (tree.root / path).is_file():
            raise build_error(f"{MANIFEST} names {name!r}, which does not exist")
        found.append(name)
    return found
