"""Chooses the files the demo reads: text, not hidden, not generated, not large."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from astrid_hookspecs.errors import ConfigError

MAX_FILES: Final = 40
MAX_FILE_BYTES: Final = 256 * 1024
_MAX_VISITED: Final = 20_000
_GENERATED: Final = frozenset(
    {"node_modules", "target", "dist", "build", "venv", "__pycache__", "site-packages"}
)
_TEXT: Final = re.compile(
    r"\.(md|rst|txt|org|tex|py|toml|wi?t|wat|js|ts|rs|go|c|h|cpp|java|sh|css|html|ini|cfg|ya?ml|json)"
)


class TextFile(NamedTuple):
    """A file and what is in it; the name is relative to the folder."""

    name: str
    text: str


def text_files(folder: Path) -> list[TextFile]:
    """Text files below a folder, prose first, then by name; at most `MAX_FILES`.

    Args:
        folder: A directory, or a single text file.

    Raises:
        ConfigError: `demo.path`: it does not exist, or holds no text file.
    """
    if not folder.exists():
        raise ConfigError(f"{folder} does not exist", code="demo.path")
    root = folder if folder.is_dir() else folder.parent
    candidates = _candidates(folder) if folder.is_dir() else iter([folder])
    chosen = sorted(candidates, key=lambda path: (path.suffix not in {".md", ".rst"}, str(path)))
    files = []
    for path in chosen:
        text = _read(path)
        if text:
            files.append(TextFile(str(path.relative_to(root)), text))
        if len(files) == MAX_FILES:
            break
    if not files:
        raise ConfigError(
            f"there is no readable text file in {folder}",
            code="demo.path",
            hint="give a folder with text files: astrid demo PATH",
        )
    return files


def _candidates(folder: Path) -> Iterator[Path]:
    visited = 0
    for directory, folders, names in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name not in _GENERATED
        )
        for name in sorted(names):
            visited += 1
            path = Path(directory, name)
            if not name.startswith(".") and _TEXT.fullmatch(path.suffix):
                yield path
        if visited > _MAX_VISITED:
            return


def _read(path: Path) -> str | None:
    try:
        if not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
            return None
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
