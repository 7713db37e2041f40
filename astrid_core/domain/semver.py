"""Semantic versions and version requirements, in the flavour of Cargo.

Trusted with the answer to "does this version satisfy that requirement", which decides load order,
runtime compatibility and whether a capsule may be removed. Pure text in, value out. Generic Python
version libraries differ in caret, wildcard and pre-release rules, hence our own.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Final

from astrid_hookspecs.errors import ConfigError

MAX_COMPARATORS: Final = 32
_MAX_NUMBER: Final = 2**64 - 1
_MAX_SHOWN: Final = 80

_NUMBER: Final = r"(?:0|[1-9][0-9]{0,19})"
_PRE: Final = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_BUILD: Final = r"[0-9A-Za-z-]+"
_SUFFIX: Final = rf"(?:-(?P<pre>{_PRE}(?:\.{_PRE})*))?(?:\+(?P<build>{_BUILD}(?:\.{_BUILD})*))?"
_VERSION: Final = re.compile(
    rf"(?P<major>{_NUMBER})\.(?P<minor>{_NUMBER})\.(?P<patch>{_NUMBER}){_SUFFIX}"
)
_COMPARATOR: Final = re.compile(
    rf"(?P<op>=|>=|>|<=|<|~|\^)?\ *(?P<major>{_NUMBER})"
    rf"(?:\.(?P<minor>{_NUMBER}|[*xX])(?:\.(?P<patch>{_NUMBER}|[*xX])(?:(?<=[0-9]){_SUFFIX})?)?)?",
)
_WILDCARDS: Final = frozenset("*xX")

_Identifiers = tuple[tuple[bool, int, str], ...]
_PreKey = tuple[bool, _Identifiers]


def _identifiers(text: str) -> _Identifiers:
    """Sort key of dot-separated identifiers: numbers before words, numbers by value.

    Numbers are compared by length, then as text: they may be too long to convert.
    """
    parts = ((part, part.isdigit()) for part in text.split("."))
    return tuple((not number, len(part.lstrip("0")) * number, part) for part, number in parts)


def _pre_key(text: str) -> _PreKey:
    """Sort key of a pre-release part; none at all comes after every pre-release."""
    return (True, ()) if not text else (False, _identifiers(text))


@functools.total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """A strict semantic version: three numbers, optional pre-release and build parts.

    Ordered by semver precedence. Build metadata has no precedence; versions that differ in nothing
    else are ordered by it, so that the order agrees with equality.

    Spec: semver.org 2.0.0 sections 2, 9-11; capsules-and-bus 1.3.

    Attributes:
        major: 0 to 2**64-1, as `minor` and `patch`.
        minor: See `major`.
        patch: See `major`.
        pre: Pre-release part without its hyphen, empty when there is none.
        build: Build part without its plus sign, empty when there is none.
    """

    major: int
    minor: int
    patch: int
    pre: str = ""
    build: str = ""

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read a version.

        Raises:
            ConfigError: `semver.invalid-version`.
        """
        found = _VERSION.fullmatch(text)
        numbers = () if found is None else tuple(int(n) for n in found.group(1, 2, 3))
        if found is None or max(numbers) > _MAX_NUMBER:
            raise ConfigError(
                f"invalid semver version {text[:_MAX_SHOWN]!r}",
                code="semver.invalid-version",
                hint="write three numbers without leading zeros or a 'v', such as 1.2.0",
            )
        major, minor, patch = numbers
        return cls(major, minor, patch, found["pre"] or "", found["build"] or "")

    @property
    def release(self) -> tuple[int, int, int]:
        """The three numbers."""
        return (self.major, self.minor, self.patch)

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Version):
            return NotImplemented
        return self._key() < other._key()

    def _key(self) -> tuple[tuple[int, int, int], _PreKey, _Identifiers]:
        return (self.release, _pre_key(self.pre), _identifiers(self.build))

    def __str__(self) -> str:
        pre = f"-{self.pre}" if self.pre else ""
        build = f"+{self.build}" if self.build else ""
        return f"{self.major}.{self.minor}.{self.patch}{pre}{build}"


@dataclass(frozen=True, slots=True)
class Comparator:
    """One comparison of a requirement.

    Attributes:
        op: `=`, `>`, `>=`, `<`, `<=`, `~`, `^`, or empty for a wildcard such as `1.*`.
        parts: The one to three numbers that were written.
        pre: Pre-release part, only with three numbers; empty when there is none.
    """

    op: str
    parts: tuple[int, ...]
    pre: str = ""

    def matches(self, version: Version) -> bool:
        """Whether this comparison holds; the pre-release rule is the requirement's business."""
        parts = self.parts
        head = version.release[: len(parts)]
        full = len(parts) == len(version.release)
        key = (head, _pre_key(version.pre))
        bound = (parts, _pre_key(self.pre))
        equal = key == bound
        below = key < bound if full else head < parts
        above = key > bound
        if self.op == "^":
            lock = next((i for i, n in enumerate(parts) if n), len(parts) - 1) + 1
            # A partial caret looks at the numbers alone, a full one at the pre-release as well.
            return head[:lock] == parts[:lock] and (above or equal if full else head >= parts)
        if self.op == "~":
            return head[:2] == parts[:2] and (above or equal)
        holds = {">": above, ">=": above or equal, "<": below, "<=": below or equal}
        return holds.get(self.op, equal)

    def admits_pre_of(self, version: Version) -> bool:
        """Whether it names a pre-release of exactly the version's three numbers."""
        return bool(self.pre) and self.parts == version.release

    def __str__(self) -> str:
        pre = f"-{self.pre}" if self.pre else ""
        return f"{self.op}{'.'.join(map(str, self.parts))}{pre}{'' if self.op else '.*'}"


@dataclass(frozen=True, slots=True)
class Requirement:
    """A version requirement; no comparator at all stands for `*`.

    `str()` gives the normalised form that `meta.json` records.

    Spec: capsules-and-bus 1.11.
    """

    comparators: tuple[Comparator, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Read a requirement.

        Raises:
            ConfigError: `semver.invalid-requirement`, naming the comparator that cannot be read.
        """
        stripped = text.strip(" ")
        if stripped in _WILDCARDS:
            return cls()
        pieces = stripped.split(",", MAX_COMPARATORS)
        if len(pieces) > MAX_COMPARATORS:
            raise _invalid(text, f"it has more than {MAX_COMPARATORS} comparators")
        return cls(tuple(_parse_comparator(piece.strip(" "), text) for piece in pieces))

    def matches(self, version: Version) -> bool:
        """Whether the version satisfies every comparator.

        A pre-release satisfies it only where a comparator names a pre-release of the same three
        numbers; nobody gets a pre-release without asking for it. Build metadata is ignored.
        """
        if not all(comparator.matches(version) for comparator in self.comparators):
            return False
        return not version.pre or any(c.admits_pre_of(version) for c in self.comparators)

    def __str__(self) -> str:
        return ", ".join(map(str, self.comparators)) or "*"


def _parse_comparator(piece: str, text: str) -> Comparator:
    found = _COMPARATOR.fullmatch(piece)
    if found is None:
        raise _invalid(text, _reason(piece))
    written = [part for part in found.group("major", "minor", "patch") if part is not None]
    wild = [part in _WILDCARDS for part in written]
    if wild != sorted(wild):
        raise _invalid(text, f"{piece[:_MAX_SHOWN]!r} goes on after its wildcard")
    parts = tuple(int(part) for part in written if part not in _WILDCARDS)
    if max(parts) > _MAX_NUMBER:
        raise _invalid(text, f"{piece[:_MAX_SHOWN]!r} has a number above 2**64-1")
    default = "" if any(wild) else "^"
    return Comparator(found["op"] or default, parts, found["pre"] or "")


def _reason(piece: str) -> str:
    if not piece:
        return "a comparator is empty"
    if piece in _WILDCARDS:
        return "a lone wildcard cannot be combined with other comparators"
    if "|" in piece:
        return "alternatives are not supported"
    if " " in piece.lstrip("=<>~^ "):
        return "comparators are separated by commas, not spaces"
    return f"{piece[:_MAX_SHOWN]!r} is not a comparator"


def _invalid(text: str, reason: str) -> ConfigError:
    return ConfigError(
        f"invalid semver requirement {text[:_MAX_SHOWN]!r}: {reason}",
        code="semver.invalid-requirement",
        hint='write it as in "^1.2" or ">=1.0, <2.0"',
    )
