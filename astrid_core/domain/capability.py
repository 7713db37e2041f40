"""Capabilities of principals: grammar, matching, groups, and which of three lists decides.

Trusted with the yes or no of every management call. Unknown means no: a missing group, a missing
grant and a disabled profile all end in a denial. Spec: kernel-and-security 5.4 to 5.6.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from astrid_hookspecs.errors import ConfigError

MAX_BYTES: Final = 256
WILDCARD: Final = "*"
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_-]+")
_MAX_SHOWN: Final = 80


def parse_capability(text: str) -> str:
    """Check a capability or capability pattern: segments joined by colons.

    Raises:
        ConfigError: `capability.empty`, `.too-long`, `.double-star`, `.empty-segment`,
            `.partial-star` or `.character`, in this order.
    """
    fault = _fault(text)
    if fault is None:
        return text
    code, reason = fault
    raise ConfigError(
        f"invalid capability {text[:_MAX_SHOWN]!r}: {reason}",
        code=f"capability.{code}",
        hint="join segments of letters, digits, '_' and '-' with colons; '*' stands for a segment",
    )


def _fault(text: str) -> tuple[str, str] | None:
    if not text:
        return "empty", "it is empty"
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        return "too-long", f"it is longer than {MAX_BYTES} bytes"
    if "**" in text:
        return "double-star", "'**' is not a wildcard"
    faults = (_segment_fault(segment) for segment in text.split(":"))
    return next((fault for fault in faults if fault is not None), None)


def _segment_fault(segment: str) -> tuple[str, str] | None:
    if not segment:
        return "empty-segment", "it has an empty segment"
    if segment == WILDCARD:
        return None
    if WILDCARD in segment:
        return "partial-star", "'*' must be a whole segment"
    if _SEGMENT.fullmatch(segment) is None:
        return "character", f"segment {segment!r} has an invalid character"
    return None


def matches(pattern: str, capability: str) -> bool:
    """Whether a pattern covers a capability.

    `*` alone covers everything. Elsewhere a `*` covers one segment, and as the last one any number
    of them, but at least one. Case-sensitive.

    Spec: kernel-and-security 5.5.
    """
    wanted, given = pattern.split(":"), capability.split(":")
    if wanted[-1] == WILDCARD and len(given) > len(wanted):
        del given[len(wanted) :]
    if len(wanted) != len(given):
        return False
    return all(want in (WILDCARD, have) for want, have in zip(wanted, given, strict=True))


def is_universal(pattern: str) -> bool:
    """Whether a pattern consists of wildcards alone, and so covers next to everything [D-28]."""
    return all(segment == WILDCARD for segment in pattern.split(":"))


@dataclass(frozen=True, slots=True)
class Group:
    """A named set of capabilities.

    Attributes:
        capabilities: Patterns; a universal one only with `unsafe_admin`.
        unsafe_admin: The author knows that members can do everything.
    """

    capabilities: tuple[str, ...]
    description: str = ""
    unsafe_admin: bool = False


BUILTIN_GROUPS: Final[Mapping[str, Group]] = MappingProxyType(
    {
        "admin": Group(("*",), "may do everything", unsafe_admin=True),
        "agent": Group(
            ("self:*", "self:quota:get", "self:agent:list", "delegate:self:*"),
            "may manage what is its own",
        ),
        "restricted": Group((), "may manage nothing"),
    }
)
"""Groups that always exist and cannot be redefined."""


class Holder(Protocol):
    """What a decision needs to know about a principal; a `Profile` is one."""

    @property
    def enabled(self) -> bool:
        """Whether the principal may act at all."""
        ...

    @property
    def groups(self) -> Sequence[str]:
        """Group names, in order; they need not exist."""
        ...

    @property
    def grants(self) -> Sequence[str]:
        """Patterns it holds."""
        ...

    @property
    def revokes(self) -> Sequence[str]:
        """Patterns it is denied whatever it holds."""
        ...


class Outcome(enum.Enum):
    """Which list decided. Only GRANTED, GROUP and TOKEN allow."""

    GRANTED = "granted"
    GROUP = "group"
    TOKEN = "token"  # noqa: S105 - an outcome
    """No list has it, but a capability token of the principal does."""
    DISABLED = "disabled"
    REVOKED = "revoked"
    MISSING = "missing"


class Decision(NamedTuple):
    """The answer to one question.

    Attributes:
        outcome: Which list decided.
        pattern: The pattern that matched, or the id of the token; empty for DISABLED and MISSING.
        group: The group that has the pattern; empty unless GROUP.
        unknown_groups: Groups of the principal that do not exist, met on the way: worth a warning.
    """

    outcome: Outcome
    pattern: str = ""
    group: str = ""
    unknown_groups: tuple[str, ...] = ()

    @property
    def is_allowed(self) -> bool:
        """Whether the capability is held."""
        return self.outcome in (Outcome.GRANTED, Outcome.GROUP, Outcome.TOKEN)


def decide(
    holder: Holder, capability: str, *, groups: Mapping[str, Group] = BUILTIN_GROUPS
) -> Decision:
    """Whether a principal holds a capability: disabled, then revokes, grants, groups, no.

    Args:
        holder: The principal's profile.
        capability: A concrete one, without wildcards.
        groups: All that exist, the built-in ones included.

    Spec: kernel-and-security 5.6.
    """
    if not holder.enabled:
        return Decision(Outcome.DISABLED)
    if (pattern := _first_match(holder.revokes, capability)) is not None:
        return Decision(Outcome.REVOKED, pattern)
    if (pattern := _first_match(holder.grants, capability)) is not None:
        return Decision(Outcome.GRANTED, pattern)
    unknown: list[str] = []
    for name in holder.groups:
        group = groups.get(name)
        if group is None:
            unknown.append(name)
        elif (pattern := _first_match(group.capabilities, capability)) is not None:
            return Decision(Outcome.GROUP, pattern, name, tuple(unknown))
    return Decision(Outcome.MISSING, unknown_groups=tuple(unknown))


def _first_match(patterns: Sequence[str], capability: str) -> str | None:
    return next((pattern for pattern in patterns if matches(pattern, capability)), None)
