from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from astrid_engine_mcp.bounds import DEFINITION_BYTES
from astrid_engine_mcp.difference import MAX_CHARACTERS, Differences
from astrid_engine_mcp.pins import PinBook


def tool(items: object, name: str = "send") -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object", "items": items}}


def nested(depth: int, inner: object) -> object:
    for _ in range(depth):
        inner = [inner]
    return inner


def swapped(lines: int) -> list[int]:
    """In what order a comparison of lines takes the square of their number, and more."""
    return [number ^ 1 for number in range(lines)]


def test_lines_that_take_for_ever_to_compare_are_shown_as_a_whole() -> None:
    began = time.monotonic()
    text = Differences().of(tool([*range(10_000)]), tool(swapped(10_000)))
    assert time.monotonic() - began < 5
    lines = text.split("\n")
    assert lines[:2] == ["--- accepted", "+++ proposed"]
    assert sum(line.startswith("-") for line in lines) == 10_001
    assert sum(line.startswith("+") for line in lines) == 10_001
    assert "   10001" not in text


def test_what_both_begin_and_end_with_is_left_out_of_a_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("astrid_engine_mcp.difference.MAX_PAIRS", 0)
    text = Differences().of(tool([1, 2, 3, 2]), tool([1, 3, 2]))
    assert text.split("\n")[2:] == ["@@ -5,1 +5,0 @@", "-   2,"]


def test_all_differences_together_share_one_bound_of_work() -> None:
    differences = Differences()
    began = time.monotonic()
    for _ in range(20):
        differences.of(tool([*range(1900)]), tool(swapped(1900)))
    assert time.monotonic() - began < 5


def test_what_does_not_fit_one_answer_says_so() -> None:
    differences = Differences()
    texts = [differences.of(None, tool(["x" * 60_000])) for _ in range(60)]
    assert sum(map(len, texts)) <= MAX_CHARACTERS + 60 * 200
    assert "x" * 60_000 in texts[0]
    assert texts[-1].startswith("(not shown")


def test_nesting_makes_neither_the_record_nor_a_difference_longer(tmp_path: Path) -> None:
    book = PinBook.open("mail", path=tmp_path / "mail.json")
    deep = [tool(nested(180, [1] * 4000), f"t{number}") for number in range(20)]
    size = len(json.dumps(deep))
    book.judge("smtp", deep, taken=_nobody)
    assert (tmp_path / "mail.json").stat().st_size < 2 * size
    assert size < DEFINITION_BYTES * 20
    text = Differences().of(None, deep[0])
    assert len(text) < 20 * len(json.dumps(deep[0]))


def test_a_listing_is_judged_in_time_however_many_tools_are_known() -> None:
    book = PinBook.open("mail", path=None)
    for server in range(12):
        book.judge(f"s{server}", [tool([], f"s{server}-{n}") for n in range(500)], taken=_nobody)
    long = [tool(["x" * 8000], f"s0-{n}") for n in range(500)]
    began = time.process_time()
    book.judge("s0", long, taken=_nobody)
    assert time.process_time() - began < 2


def _nobody(_name: str) -> bool:
    return False
