"""What the demo is pointed at, looked at before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from astrid_hookspecs.errors import ConfigError

_HINT: Final = "give a folder with text files: astrid demo PATH"


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
        ConfigError: `demo.path`: it does not exist, is neither a directory nor a file, or is empty.
    """
    try:
        real = path.resolve(strict=True)
    except OSError as error:
        raise ConfigError(f"{path} does not exist", code="demo.path") from error
    if real.is_dir():
        if next(real.iterdir(), None) is None:  # found out now, not after half a minute of building
            raise ConfigError(f"{path} is empty", code="demo.path", hint=_HINT)
        return Target(real, "")
    if real.is_file():
        return Target(real.parent, real.name)
    raise ConfigError(
        f"{path} is neither a folder nor a file",
        code="demo.path",
        hint=_HINT,
    )
