from __future__ import annotations

import pytest

from astrid_core.domain.resource_pattern import PatternError
from astrid_core.domain.tool_filter import EVERYTHING, MAX_PATTERNS, ToolFilter
from astrid_hookspecs.errors import ConfigError


@pytest.mark.parametrize(
    ("patterns", "target", "is_offered"),
    [
        (["notes.*"], "notes.find", True),
        (["notes.*"], "notes2.find", False),
        (["notes.find"], "notes.find", True),
        (["notes.find"], "notes.finder", False),
        (["a.*", "b.x?"], "b.x1", True),
        (["*"], "any.thing", True),
    ],
)
def test_a_pattern_lets_through_what_it_covers(
    patterns: list[str], target: str, is_offered: bool
) -> None:
    assert ToolFilter(patterns).lets_through(target) is is_offered


def test_no_pattern_leaves_nothing_out() -> None:
    assert EVERYTHING.lets_through("any.thing")
    assert EVERYTHING.texts == ()


def test_patterns_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(PatternError):
        ToolFilter([""])
    with pytest.raises(ConfigError, match="at most"):
        ToolFilter(["x"] * (MAX_PATTERNS + 1))
