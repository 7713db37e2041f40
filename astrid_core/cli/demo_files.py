"""What the demo is pointed at, looked at before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from astrid_hookspecs.errors import ConfigError


class Target(NamedTuple):
    """What to read.

    Attributes:
        folder: The workspace, an absolute path without links.
        start: What to read in it: empty for all of it, or the name of one file.
    """

    folder: Path
    start: str


def check_target(path: Path) -> Target:
    """Look at a path that a person gave.

    Raises:
        ConfigError: `demo.path`: it does not exist, or is neither a directory nor a file.
    """
    try:
        real = path.resolve(strict=True)
    except OSError as error:
        raise ConfigError(f"{path} does not exist", code="demo.path") from error
    if real.is_dir():
        return Target(real, "")
    if real.is_file():
        return Target(real.parent, real.name)
    raise ConfigError(
        f"{path} is neither a folder nor a file",
        code="demo.path",
        hint="give a folder with text files: astrid demo PATH",
    )
