from __future__ import annotations

import pytest

from astrid_core.kernel.tools import ToolResult
from astrid_hookspecs.errors import ToolError


def result(content: str) -> ToolResult:
    return ToolResult(content, is_error=False, capsule="notes", duration_ms=1.0)


def test_json_of_an_answer() -> None:
    assert result('{"lines": 3}').json() == {"lines": 3}


@pytest.mark.parametrize(
    ("content", "why"),
    [("three lines", "plain text"), ("", "plain text"), ("[" * 200_000, "nested too deeply")],
    ids=["text", "empty", "deep"],
)
def test_an_answer_that_is_no_json_is_named_as_such(content: str, why: str) -> None:
    with pytest.raises(ToolError, match=why) as refusal:
        result(content).json()
    assert refusal.value.code == "tool.not-json"
