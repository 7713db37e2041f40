"""Write new projects that build, test and run as they are.

Spec: cli-and-ux 12.4.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Final

from astrid_hookspecs.errors import CapsuleError
from astrid_sdk_host.project import check_name

_PYTHON: Final = {
    "pyproject.toml": "pyproject.toml.tmpl",
    "Capsule.toml": "Capsule.toml.tmpl",
    "src/{package}/__init__.py": "capsule.py.tmpl",
    "tests/test_{package}.py": "test_capsule.py.tmpl",
    "README.md": "README.md.tmpl",
    "AUTHORING.md": "AUTHORING.md.tmpl",
    ".gitignore": "gitignore.tmpl",
}
_WAT: Final = {
    "Capsule.toml": "wat-Capsule.toml.tmpl",
    "{name}.wat": "capsule.wat.tmpl",
    "README.md": "wat-README.md.tmpl",
}


def write_project(target: Path, *, name: str) -> list[Path]:
    """Write a Python capsule named `name` below `target`.

    Returns:
        The files, relative to `target`, in the order to show them.

    Raises:
        CapsuleError: `capsule.name` for an unfit name, `capsule.scaffold` when a file cannot be
            written.
    """
    return _write(_PYTHON, target, name)


def write_wat_project(target: Path, *, name: str) -> list[Path]:
    """Write a capsule in component text format; as `write_project`."""
    return _write(_WAT, target, name)


def _write(files: dict[str, str], target: Path, name: str) -> list[Path]:
    check_name(name)
    words = {"name": name, "package": name.replace("-", "_")}
    templates = resources.files("astrid_sdk_host") / "templates"
    written: list[Path] = []
    for pattern, template in files.items():
        path = Path(pattern.format(**words))
        text = (templates / template).read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(f"@{word}@", value)
        try:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_text(text, encoding="utf-8")
        except OSError as error:
            raise CapsuleError(
                f"cannot write {path}: {error.strerror}", code="capsule.scaffold"
            ) from error
        written.append(path)
    return written
