"""Values that cross the plugin boundary, and the functions that make them from untrusted text."""

from __future__ import annotations

import re
from typing import Final, NewType

from astrid_hookspecs.errors import ConfigError

Principal = NewType("Principal", str)
"""Who acts: 1-64 characters of `A-Z a-z 0-9 _ -`. Spec: kernel-and-security 5.1."""

CapsuleId = NewType("CapsuleId", str)
"""Name of a capsule: `[a-z0-9-]+`, at most 64 characters. Spec: capsules-and-bus 1.3."""

DEFAULT_PRINCIPAL: Final = Principal("default")
NIL_SOURCE: Final = "00000000-0000-0000-0000-000000000000"
"""Source id of everything the kernel itself publishes."""

_PRINCIPAL = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CAPSULE_ID = re.compile(r"[a-z0-9-]{1,64}")


def is_principal(text: str) -> bool:
    """Whether the text is a valid principal id."""
    return _PRINCIPAL.fullmatch(text) is not None


def parse_principal(text: str) -> Principal:
    """Check a principal id.

    Raises:
        ConfigError: `principal.invalid`, saying which character or length is wrong.
    """
    if not is_principal(text):
        raise ConfigError(
            f"{text[:80]!r} is not a principal id",
            code="principal.invalid",
            hint="use 1 to 64 letters, digits, underscores and hyphens",
        )
    return Principal(text)


def is_capsule_id(text: str) -> bool:
    """Whether the text is a valid capsule id."""
    return _CAPSULE_ID.fullmatch(text) is not None


def parse_capsule_id(text: str) -> CapsuleId:
    """Check a capsule id.

    Raises:
        ConfigError: `capsule.invalid-id`.
    """
    if not is_capsule_id(text):
        raise ConfigError(
            f"{text[:80]!r} is not a capsule name",
            code="capsule.invalid-id",
            hint="use 1 to 64 lower-case letters, digits and hyphens",
        )
    return CapsuleId(text)
