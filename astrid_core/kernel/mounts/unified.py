"""Unified diffs of texts that nobody vouches for.

Trusted with ending: comparing lines takes quadratic time and more for texts that are made for it,
so the steps are counted. What would take too many is shown as one change, from the first line
that differs to the last.
"""

from __future__ import annotations

import difflib
import io
import itertools
from collections.abc import Iterator
from typing import Final

MAX_STEPS: Final = 10_000_000
"""For one pair of texts: about a second."""
MAX_STEPS_IN_ALL: Final = 10 * MAX_STEPS
_CONTEXT: Final = 3


class Effort:
    """How many steps comparisons may still take together."""

    def __init__(self, steps: int = MAX_STEPS_IN_ALL) -> None:
        self._steps = steps

    def matcher(self, before: list[str], after: list[str]) -> _Matcher:
        """For one pair of texts."""
        return _Matcher(before, after, self)

    def spend(self, steps: int) -> bool:
        """Take steps; False when there are not as many."""
        if steps > self._steps:
            return False
        self._steps -= steps
        return True


class _TooManySteps(Exception):  # noqa: N818 - never seen outside
    """The comparison takes too long."""


class _Matcher(difflib.SequenceMatcher[str]):
    """Compares lines until it has taken its steps."""

    b2j: dict[str, list[int]]
    """Where each line of the second text is; of `SequenceMatcher`, whose stub leaves it out."""

    def __init__(self, before: list[str], after: list[str], effort: Effort) -> None:
        super().__init__(None, before, after)
        self._before = before
        self._after = after
        self._effort = effort
        self._left = MAX_STEPS
        steps = (1 + len(self.b2j.get(line, ())) for line in before)
        self._steps = list(itertools.accumulate(steps, initial=0))

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> difflib.Match:
        """As of `SequenceMatcher`, which asks for every stretch that it looks at."""
        end = len(self._before) if ahi is None else ahi
        steps = self._steps[end] - self._steps[alo]
        self._left -= steps
        if self._left < 0 or not self._effort.spend(steps):
            raise _TooManySteps
        return super().find_longest_match(alo, ahi, blo, bhi)

    def get_matching_blocks(self) -> list[difflib.Match]:
        """As of `SequenceMatcher`, or what is the same at the beginning and at the end."""
        try:
            return super().get_matching_blocks()
        except _TooManySteps:
            self.matching_blocks = self._ends()
            return self.matching_blocks

    def _ends(self) -> list[difflib.Match]:
        old, new = len(self._before), len(self._after)
        first = _same(zip(self._before, self._after, strict=False))
        rest = min(old, new) - first
        backwards = zip(reversed(self._before), reversed(self._after), strict=False)
        last = _same(itertools.islice(backwards, rest))
        blocks = [(0, 0, first), (old - last, new - last, last), (old, new, 0)]
        return [difflib.Match(*block) for block in blocks if block[2] or block[0] == old]


def unified_diff(
    before: str, after: str, *, old_name: str, new_name: str, effort: Effort
) -> tuple[str, ...]:
    """The lines of a unified diff, without their ends; none for equal texts.

    Only a line feed ends a line, as in every other diff tool.

    Args:
        before: Old text.
        after: New text.
        old_name: For the header.
        new_name: For the header.
        effort: Charged.
    """
    old, new = _lines(before), _lines(after)
    shown: list[str] = []
    for group in effort.matcher(old, new).get_grouped_opcodes(_CONTEXT):
        if not shown:
            shown += [f"--- {old_name}", f"+++ {new_name}"]
        _, old_start, _, new_start, _ = group[0]
        _, _, old_end, _, new_end = group[-1]
        shown.append(f"@@ -{_range(old_start, old_end)} +{_range(new_start, new_end)} @@")
        for tag, i, i_end, j, j_end in group:
            if tag == "equal":
                shown += _marked(" ", old[i:i_end])
            else:
                shown += _marked("-", old[i:i_end])
                shown += _marked("+", new[j:j_end])
    return tuple(shown)


def _lines(text: str) -> list[str]:
    return list(io.StringIO(text, newline="\n"))


def _marked(mark: str, lines: list[str]) -> Iterator[str]:
    for line in lines:
        yield mark + line.removesuffix("\n")
        if not line.endswith("\n"):
            yield "\\ No newline at end of file"


def _range(start: int, end: int) -> str:
    """Lines count from 1; before an empty range stands the line that it follows."""
    length = end - start
    first = start + 1 if length else start
    return str(first) if length == 1 else f"{first},{length}"


def _same(pairs: Iterator[tuple[str, str]]) -> int:
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
