from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrid_core.domain.json_size import MAX_DEPTH, json_size

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda below: st.lists(below) | st.dictionaries(st.text(), below),
    max_leaves=15,
)


@given(VALUES)
@pytest.mark.slow
def test_no_less_than_what_is_written(value: Any) -> None:
    written = len(json.dumps(value, separators=(",", ":")))
    with_room = 2 * written + 3
    assert written <= json_size(value, most=10**6) <= with_room


def test_what_is_shared_counts_each_time_and_is_given_up_early() -> None:
    value: Any = ["x" * 1000]
    for _ in range(60):
        value = [value, value]
    with pytest.raises(ValueError, match="more than 1000000 bytes"):
        json_size(value, most=10**6)


def test_depth_ends_it() -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH):
        value = {"a": value}
    assert json_size(value, most=10**6)
    with pytest.raises(ValueError, match="deeper than 128 levels"):
        json_size([value], most=10**6)
