"""Patterns of token resources: globs over URI texts, matched in time linear in the text.

Trusted with what a token covers. Whoever makes a token writes the pattern, whoever uses it chooses
the text, so neither may make matching slow: the pattern becomes an automaton that looks at each
character once. `*` and `?` cross `/`; `**` as a whole component stands for any number of them.
Spec: kernel-and-security 7.1, vectors 102 to 108.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from astrid_hookspecs.errors import ConfigError

MAX_BYTES: Final = 1024
MAX_DEPTH: Final = 4
_GLOB_MARKS: Final = frozenset("*?[")
_SPECIAL: Final = frozenset("*?[]{},\\")
"""What a backslash takes the meaning of, inside a glob."""

_Test = Callable[[str], bool]
_Edge = tuple[_Test, int]


class PatternError(ConfigError):
    """A resource pattern cannot be used."""

    default_code = "token.pattern"


class ResourcePattern:
    """One pattern.

    Args:
        text: A glob when it has `*`, `?` or `[`; else matched as it is.

    Raises:
        PatternError: Empty, too long, with a `..` component, or malformed.
    """

    def __init__(self, text: str) -> None:
        if not text or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            raise PatternError(f"a resource pattern has 1 to {MAX_BYTES} bytes")
        if has_parent(text):
            raise PatternError(f"the resource pattern {text[:80]!r} has a '..' component")
        self.text = text
        self._automaton = _Automaton(text) if _GLOB_MARKS & set(text) else None

    def matches(self, resource: str) -> bool:
        """Whether the pattern covers a resource; one with a `..` component is covered by none."""
        if has_parent(resource):
            return False
        if self._automaton is None:
            return resource == self.text
        return self._automaton.matches(resource)


def escaped(text: str) -> str:
    """The text as a part of a glob that stands for itself, also after it was stored [D-39]."""
    return "".join(f"\\{char}" if char in _SPECIAL else char for char in text)


def has_parent(text: str) -> bool:
    """Whether a component after the scheme is `..`."""
    _, mark, rest = text.partition("://")
    return ".." in (rest if mark else text).split("/")


class _Automaton:
    """A nondeterministic automaton without backtracking.

    State `n` has edges that read a character, and others that read nothing.
    """

    def __init__(self, text: str) -> None:
        self._reads: list[list[_Edge]] = []
        self._skips: list[list[int]] = []
        self._text = text
        self._start = self._new()
        at, end = self._sequence(0, self._start, closing="", depth=0)
        if at != len(text):
            raise PatternError(f"{text[:80]!r} closes a brace that it did not open")
        self._end = end

    def matches(self, text: str) -> bool:
        states = self._closure({self._start})
        for char in text:
            states = self._closure(
                target for state in states for test, target in self._reads[state] if test(char)
            )
            if not states:
                return False
        return self._end in states

    def _closure(self, states: Iterable[int]) -> set[int]:
        found = set(states)
        pending = list(found)
        while pending:
            for target in self._skips[pending.pop()]:
                if target not in found:
                    found.add(target)
                    pending.append(target)
        return found

    def _sequence(self, at: int, state: int, *, closing: str, depth: int) -> tuple[int, int]:
        """Read until one of the closing characters; returns where that is, and the last state."""
        text = self._text
        while at < len(text) and text[at] not in closing:
            char = text[at]
            if char == "*":
                at, state = self._stars(at, state)
            elif char == "?":
                at, state = at + 1, self._read(state, _anything)
            elif char == "[":
                at, state = self._class(at, state)
            elif char == "{":
                at, state = self._choice(at, state, depth=depth)
            elif char == "}":
                return at, state
            else:
                at += char == "\\"
                if at == len(text):
                    raise PatternError(f"{text[:80]!r} ends with a backslash")
                at, state = at + 1, self._read(state, _is(text[at]))
        return at, state

    def _stars(self, at: int, state: int) -> tuple[int, int]:
        text = self._text
        end = at
        while end < len(text) and text[end] == "*":
            end += 1
        is_component = (at == 0 or text[at - 1] == "/") and end - at == len("**")
        if is_component and end < len(text) and text[end] == "/":
            # After a slash, or at the start: any number of components, none included.
            skipped = self._new()
            inner = self._loop(state)
            self._skips[self._read(inner, _is("/"))].append(skipped)
            self._skips[state].append(skipped)
            return end + 1, skipped
        return end, self._loop(state)

    def _class(self, at: int, state: int) -> tuple[int, int]:
        text, start = self._text, at + 1
        is_negated = start < len(text) and text[start] in "!^"
        at = start = start + is_negated
        members: list[tuple[str, str]] = []
        while at < len(text) and (text[at] != "]" or at == start):
            low = text[at]
            if at + 2 < len(text) and text[at + 1] == "-" and text[at + 2] != "]":
                members.append((low, text[at + 2]))
                at += 3
            else:
                members.append((low, low))
                at += 1
        if at >= len(text):
            raise PatternError(f"{text[:80]!r} has a '[' without a ']'")
        if any(low > high for low, high in members):
            raise PatternError(f"{text[:80]!r} has a range that runs backwards")
        return at + 1, self._read(state, _in(members, is_negated=is_negated))

    def _choice(self, at: int, state: int, *, depth: int) -> tuple[int, int]:
        if depth == MAX_DEPTH:
            raise PatternError(f"{self._text[:80]!r} nests braces too deeply")
        joined = self._new()
        while True:
            branch = self._new()
            self._skips[state].append(branch)
            at, end = self._sequence(at + 1, branch, closing=",}", depth=depth + 1)
            self._skips[end].append(joined)
            if at == len(self._text):
                raise PatternError(f"{self._text[:80]!r} has a '{{' without a '}}'")
            if self._text[at] == "}":
                return at + 1, joined

    def _loop(self, state: int) -> int:
        """A state that stays while it reads anything."""
        looping = self._new()
        self._skips[state].append(looping)
        self._reads[looping].append((_anything, looping))
        return looping

    def _read(self, state: int, test: _Test) -> int:
        target = self._new()
        self._reads[state].append((test, target))
        return target

    def _new(self) -> int:
        self._reads.append([])
        self._skips.append([])
        return len(self._reads) - 1


def _anything(_char: str) -> bool:
    return True


def _is(wanted: str) -> _Test:
    return wanted.__eq__


def _in(members: list[tuple[str, str]], *, is_negated: bool) -> _Test:
    return lambda char: any(low <= char <= high for low, high in members) is not is_negated
