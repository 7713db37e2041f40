"""Which tools a client offers to those behind it: fewer than its principal may call.

Trusted with taking away only: what a filter leaves out cannot be called through that client, and
what it lets through is decided about as ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from astrid_core.domain.resource_pattern import ResourcePattern
from astrid_hookspecs.errors import ConfigError

MAX_PATTERNS: Final = 64


class ToolFilter:
    """Patterns of `capsule.tool`.

    Args:
        patterns: `*` and `?` as in a shell; none lets everything through.

    Raises:
        PatternError: One cannot be used.
        ConfigError: `tool.filter`: there are too many.
    """

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        if len(patterns) > MAX_PATTERNS:
            raise ConfigError(f"at most {MAX_PATTERNS} patterns of tools", code="tool.filter")
        self.texts = tuple(patterns)
        self._patterns = tuple(ResourcePattern(text) for text in patterns)

    def lets_through(self, target: str) -> bool:
        """Whether a `capsule.tool` is offered."""
        return not self._patterns or any(pattern.matches(target) for pattern in self._patterns)


EVERYTHING: Final = ToolFilter()
