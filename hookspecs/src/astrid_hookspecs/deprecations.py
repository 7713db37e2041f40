"""Every deprecated hook or argument, with its last release. Empty until something is deprecated."""

from __future__ import annotations

from typing import NamedTuple


class Deprecation(NamedTuple):
    """One deprecation.

    Attributes:
        hook: Name of the hook.
        argument: Deprecated argument, or None when the whole hook is.
        message: What to use instead.
        removed_in: Major version that drops it.
    """

    hook: str
    argument: str | None
    message: str
    removed_in: str


DEPRECATIONS: tuple[Deprecation, ...] = ()
