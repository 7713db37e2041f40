"""Unified diffs: as the standard library makes them, and of hostile texts within bounds."""

from __future__ import annotations

import difflib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrid_core.kernel.mounts.unified import MAX_STEPS, Effort, unified_diff

LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "\n", "d\r\n"]), max_size=30)
TEXTS = st.builds("".join, LINES) | st.builds("".join, LINES).map(lambda text: text.rstrip("\n"))


def diff(before: str, after: str, effort: Effort | None = None) -> tuple[str, ...]:
    return unified_diff(before, after, old_name="a/x", new_name="b/x", effort=effort or Effort())


def applied(before: str, lines: tuple[str, ...]) -> str:
    """What `patch` makes of it."""
    old = before.splitlines(keepends=True)
    made: list[str] = []
    at = 0
    for line in lines[2:]:
        if line.startswith("@@"):
            start, _, count = line.split()[1][1:].partition(",")
            first = int(start) - (0 if count == "0" else 1)
            made += old[at:first]
            at = first
            continue
        if line[0] in " +":
            made.append(f"{line[1:]}\n")
        if line[0] in " -":
            at += 1
    return "".join(made + old[at:])


@given(TEXTS, TEXTS)
def test_it_is_the_diff_that_everybody_makes(before: str, after: str) -> None:
    def split(text: str) -> list[str]:
        *lines, rest = text.split("\n")
        return [f"{line}\n" for line in lines] + [rest] * bool(rest)

    theirs = difflib.unified_diff(split(before), split(after), "a/x", "b/x")
    expected: list[str] = []
    for line in theirs:
        expected.append(line.removesuffix("\n"))
        if not line.endswith("\n"):
            expected.append("\\ No newline at end of file")
    assert list(diff(before, after)) == expected


@given(LINES, LINES)
def test_what_takes_too_long_is_one_change_that_says_the_same(
    before: list[str], after: list[str]
) -> None:
    old, new = ("".join(lines).replace("\r", "") for lines in (before, after))
    lines = diff(old, new, Effort(0))
    assert bool(lines) is (old != new)
    assert sum(line.startswith("@@") for line in lines) <= 1
    assert (applied(old, lines) if lines else old) == new


@pytest.mark.timeout(60)
@pytest.mark.parametrize("lines", [100_000, 250_000])
@pytest.mark.slow
def test_lines_that_are_all_alike_do_not_take_forever(lines: int) -> None:
    """Less than one in a hundred each, so that none counts as noise; minutes to hours otherwise."""
    old = "".join(f"{number * 7919 % 127:03}\n" for number in range(lines))
    new = "".join(f"{number * 104729 % 127:03}\n" for number in range(lines))
    shown = diff(old, f"same\n{new}same\n")
    assert len(list(itertools.filterfalse(lambda line: line[0] in "-+@", shown))) <= 6


def test_comparisons_share_their_effort() -> None:
    effort = Effort(30)
    old, new = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n", "b\na\nc\nd\ne\nf\ng\nh\nj\ni\n"
    exact = diff(old, new)
    assert diff(old, new, effort) == exact
    assert len(diff(old, new, effort)) > len(exact)
    assert MAX_STEPS > 30
