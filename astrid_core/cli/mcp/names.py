"""What the daemon's tools are called for MCP clients, which take letters, digits, `_` and `-`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from astrid_core.domain.tool_filter import ToolFilter

MAX_NAME: Final = 64
"""Longest name that every common client takes."""
_DIGEST: Final = 8
_BETWEEN: Final = "__"
_UNUSABLE: Final = re.compile(r"[^A-Za-z0-9_-]")
_NO_SCHEMA: Final[Mapping[str, Any]] = {"type": "object"}


class ServedTool(NamedTuple):
    """A tool as it is served.

    Attributes:
        name: For the client.
        target: For the daemon: `capsule.tool`.
        row: What the daemon says about it.
    """

    name: str
    target: str
    row: Mapping[str, Any]

    @property
    def input_schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments, always of an object."""
        found = dict(self.row.get("input_schema") or _NO_SCHEMA)
        found.setdefault("type", "object")
        return found


def served_tools(rows: Iterable[Mapping[str, Any]], *, only: ToolFilter) -> list[ServedTool]:
    """Tools by the names that clients see, sorted; no two have the same.

    Args:
        rows: Of `ListTools`.
        only: What is served of them.
    """
    found = {}
    for row in rows:
        target = f"{row['capsule']}.{row['name']}"
        if only.lets_through(target):
            name = served_name(str(row["capsule"]), str(row["name"]))
            if name in found:
                name = _shortened(name, target)
            found[name] = ServedTool(name, target, row)
    return [found[name] for name in sorted(found)]


def target_of(name: str) -> str | None:
    """The `capsule.tool` that a name most likely stands for, when it was not listed."""
    capsule, between, tool = name.partition(_BETWEEN)
    return f"{capsule}.{tool}" if capsule and between and tool else None


def served_name(capsule: str, tool: str) -> str:
    """`capsule__tool`, with what no client takes replaced."""
    name = _UNUSABLE.sub("_", f"{capsule}{_BETWEEN}{tool}")
    return name if len(name) <= MAX_NAME else _shortened(name, f"{capsule}.{tool}")


def _shortened(name: str, target: str) -> str:
    digest = hashlib.blake2b(target.encode(), digest_size=_DIGEST // 2).hexdigest()
    return f"{name[: MAX_NAME - _DIGEST - 1]}_{digest}"
