from __future__ import annotations

import json

from astrid_core.daemon.tool_list import tool_rows
from astrid_core.kernel.tool_catalogue import ToolInfo


def tools(capsule: str, count: int, *, says: int) -> list[ToolInfo]:
    return [ToolInfo(f"{capsule}-{number}", capsule, "x" * says) for number in range(count)]


def names(rows: list[dict[str, object]]) -> list[object]:
    return [row["name"] for row in rows]


def test_a_row_is_what_is_known_of_a_tool() -> None:
    info = ToolInfo("send", "mail", "Sends.", {"type": "object"}, {"type": "string"}, {"a": 1}, "s")
    assert tool_rows([info]) == [
        {
            "name": "send",
            "capsule": "mail",
            "description": "Sends.",
            "input_schema": {"type": "object"},
            "output_schema": {"type": "string"},
            "annotations": {"a": 1},
            "server": "s",
        }
    ]


def test_who_says_most_is_cut_short_and_nobody_else() -> None:
    loud, quiet, plain = (
        tools("loud", 50, says=1000),
        tools("quiet", 3, says=10),
        tools("plain", 10, says=300),
    )
    rows = tool_rows([*loud, *quiet, *plain], most=20_000)
    assert len(json.dumps(rows)) <= 20_000 + 2 * len(rows)
    found = names(rows)
    assert found[-13:] == [tool.name for tool in (*quiet, *plain)]
    assert found[:-13] == [tool.name for tool in loud[: len(found) - 13]]
    assert len(found) > 20


def test_what_the_quiet_leave_goes_to_all_who_need_it() -> None:
    rows = tool_rows([*tools("a", 90, says=900), *tools("b", 90, says=900)], most=40_000)
    per_capsule = [sum(row["capsule"] == capsule for row in rows) for capsule in "ab"]
    assert per_capsule[0] == per_capsule[1] > 15
