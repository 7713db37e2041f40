"""Read a capsule's source tree: where its code is and what its author wrote about it.

Trusted with reading the project only. Everything here comes from the author; what is malformed is
refused with the file that is wrong.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from astrid_hookspecs.errors import CapsuleError

MANIFEST: Final = "Capsule.toml"
PYPROJECT: Final = "pyproject.toml"
BUILD_CODE: Final = "capsule.build"
NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
MAX_NAME: Final = 64
"""Length of a capsule id."""
_RESERVED_PACKAGES: Final = frozenset({"astrid_sdk", "astrid_entry", "wit_world"})


def build_error(message: str, *, hint: str | None = None) -> CapsuleError:
    """A `capsule.build` error."""
    return CapsuleError(message, code=BUILD_CODE, hint=hint)


def check_name(name: str) -> str:
    """Refuse what cannot name a new capsule.

    Raises:
        CapsuleError: `capsule.name`, saying what a name looks like.

    Spec: cli-and-ux 12.4.
    """
    if not NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise CapsuleError(
            f"{name[:80]!r} cannot name a capsule",
            code="capsule.name",
            hint="start with a lower-case letter, then a-z, 0-9 and single hyphens, at most 64",
        )
    return name


@dataclass(frozen=True, slots=True)
class Project:
    """A Python capsule's source tree.

    Attributes:
        root: Its directory.
        name: Capsule name.
        version: Semantic version.
        description: One line, may be empty.
        package: Top-level import name of the capsule.
        source: The package's directory, or its file when it is a single module.
        manifest: What the author wrote in `Capsule.toml`, empty without one.
        dependencies: Requirements other than the SDK.
    """

    root: Path
    name: str
    version: str
    description: str
    package: str
    source: Path
    manifest: dict[str, Any] = field(repr=False)
    dependencies: tuple[str, ...] = ()

    @property
    def search_path(self) -> Path:
        """The directory from which `package` is imported."""
        return self.source.parent

    def relative(self, path: str) -> str:
        """A path below the project for people, the base name for any other."""
        try:
            return str(Path(path).relative_to(self.root))
        except ValueError:
            return Path(path).name


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; an absent one is empty.

    Raises:
        CapsuleError: `capsule.build`, with file, line and column of the syntax error.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise build_error(f"{path.name} is not valid TOML: {error}") from error
    except OSError as error:
        raise build_error(f"cannot read {path.name}: {error.strerror}") from error


def is_python_project(root: Path) -> bool:
    """Whether the tree is one this builder understands. Never raises."""
    try:
        pyproject = read_toml(root / PYPROJECT)
    except CapsuleError:
        return False
    if "astrid" in _table(pyproject, "tool"):
        return True
    if not (root / MANIFEST).is_file():
        return False
    return any((root / "src").glob("*/__init__.py")) or any((root / "src").glob("*.py"))


def read_project(root: Path) -> Project:
    """Read a source tree.

    Raises:
        CapsuleError: `capsule.build`: a file is malformed, the package is missing, or the two
            files disagree.
    """
    root = root.resolve()
    pyproject = read_toml(root / PYPROJECT)
    manifest = read_toml(root / MANIFEST)
    project = _table(pyproject, "project")
    settings = _table(_table(pyproject, "tool"), "astrid")
    package = _table(manifest, "package")
    name = _agreed("name", package, project, default=None)
    if not NAME.fullmatch(name):
        raise build_error(
            f"{name[:80]!r} cannot name a capsule", hint="use a-z, 0-9 and single hyphens"
        )
    module = settings.get("module", name.replace("-", "_"))
    if not isinstance(module, str) or not module.isidentifier() or module in _RESERVED_PACKAGES:
        raise build_error(
            f"[tool.astrid] module must be the import name of your package, not {module!r}"
        )
    return Project(
        root=root,
        name=name,
        version=_agreed("version", package, project, default="0.1.0"),
        description=_agreed("description", package, project, default=""),
        package=module,
        source=_find_source(root, module),
        manifest=manifest,
        dependencies=_dependencies(project),
    )


def _table(parent: dict[str, Any], key: str) -> dict[str, Any]:
    value = parent.get(key, {})
    if not isinstance(value, dict):
        raise build_error(f"[{key}] must be a table")
    return value


def _agreed(
    key: str, manifest: dict[str, Any], project: dict[str, Any], *, default: str | None
) -> str:
    values = {str(table[key]) for table in (manifest, project) if key in table}
    if len(values) > 1 and key != "description":
        raise build_error(
            f"{MANIFEST} and {PYPROJECT} disagree about the {key}: {' and '.join(sorted(values))}",
            hint=f"write the {key} in one of them only",
        )
    if key in manifest:
        return str(manifest[key])
    if key in project:
        return str(project[key])
    if default is None:
        raise build_error(f"neither {PYPROJECT} nor {MANIFEST} says the {key} of the capsule")
    return default


def _find_source(root: Path, module: str) -> Path:
    for parent in (root / "src", root):
        for candidate in (parent / module / "__init__.py", parent / f"{module}.py"):
            if candidate.is_file():
                return candidate.parent if candidate.name == "__init__.py" else candidate
    raise build_error(
        f"there is no package {module!r}: expected src/{module}/__init__.py or src/{module}.py",
        hint=f'name another one with module = "..." under [tool.astrid] in {PYPROJECT}',
    )


def _dependencies(project: dict[str, Any]) -> tuple[str, ...]:
    listed = project.get("dependencies", [])
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise build_error("[project] dependencies must be a list of requirements")
    return tuple(item for item in listed if _distribution(item) != "astrid-sdk")


def _distribution(requirement: str) -> str:
    found = re.match(r"\s*([A-Za-z0-9._-]+)", requirement)
    return re.sub(r"[-_.]+", "-", found[1]).lower() if found else ""
