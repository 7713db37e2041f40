"""Where the runtime home is. Touches nothing, and loads nothing that a quick command lacks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from astrid_hookspecs.errors import ConfigError


def resolve_home(environ: Mapping[str, str]) -> Path:
    """Choose the home directory: `ASTRID_HOME`, else `$HOME/.astrid`; nothing is touched.

    Raises:
        ConfigError: `home.path`; the variable is empty, relative or has a `..` part. A set but
            empty `ASTRID_HOME` does not fall back.

    Spec: kernel-and-security 2.1.
    """
    name = "ASTRID_HOME" if "ASTRID_HOME" in environ else "HOME"
    text = environ.get(name, "")
    if not text or "\0" in text:
        reason = "is empty" if name in environ else "is not set"
    elif not text.startswith("/"):
        reason = f"is not an absolute path: {text!r}"
    elif ".." in text.split("/"):
        reason = f"contains `..`: {text!r}"
    else:
        return Path(text) if name == "ASTRID_HOME" else Path(text) / ".astrid"
    raise ConfigError(
        f"{name} {reason}",
        code="home.path",
        hint="set ASTRID_HOME to the absolute path of a directory that only you can write",
    )
