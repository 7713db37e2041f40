"""`${NAME}` in settings. Spec: kernel-and-security 14.1, 16 D-80."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_REFERENCE: Final = re.compile(r"\$\{([^}]*)\}")
WORKSPACE_PREFIXES: Final = ("ASTRID_",)
"""Variables that the file of a workspace may name."""


def substitute(value: Any, environ: Mapping[str, str]) -> Any:
    """The value with every reference to a variable that is set replaced.

    What is unset or unclosed stays as it is written, and an empty reference becomes `${`, as in the
    reference. What is put in is not looked at again.

    Args:
        value: TOML data; texts in tables and lists are reached.
        environ: The variables that may be named.
    """
    if isinstance(value, str):
        return _REFERENCE.sub(lambda found: _replacement(found, environ), value)
    if isinstance(value, dict):
        return {key: substitute(item, environ) for key, item in value.items()}
    if isinstance(value, list):
        return [substitute(item, environ) for item in value]
    return value


def of_workspace(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that a workspace may know; a token of the operator's is not among them."""
    return {
        name: value
        for name, value in environ.items()
        if name.startswith(WORKSPACE_PREFIXES) and not name.endswith(_SECRETS)
    }


def _replacement(found: re.Match[str], environ: Mapping[str, str]) -> str:
    return environ.get(found[1], found[0]) if found[1] else "${"


_SECRETS: Final = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")
