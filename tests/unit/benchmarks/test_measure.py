"""The arithmetic and the command line of the benchmarks; no measured time is looked at."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks import collect, measure
from tests.benchmarks.__main__ import markdown, table

ROOT = Path(__file__).parents[3]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("row", "ok"),
    [
        (measure.at_least("a", 8.0, 8, detail={}), True),
        (measure.at_least("a", 7.99, 8, detail={}), False),
        (measure.at_most("a", 2.0, 2, detail={}), True),
        (measure.at_most("a", 2.01, 2, detail={}), False),
        (measure.information("a", 1e9, unit="us"), True),
    ],
)
def test_a_budget_is_met_on_the_right_side_of_its_bound(row: measure.Row, ok: bool) -> None:
    assert row["ok"] is ok
    assert {"name", "ratio", "budget", "bound", "unit", "ok", "detail"} == set(row)


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    ours: Iterator[float] = iter([1.0, 2.0, 100.0])
    theirs: Iterator[float] = iter([10.0, 10.0, 100.0])
    sides = measure.compare(lambda: next(ours), lambda: next(theirs), rounds=3)
    assert sides == (2.0, 10.0, 5.0)


def test_both_sides_are_called_in_turns() -> None:
    order: list[str] = []
    measure.alternate(lambda: order.append("a"), lambda: order.append("b"), times=(2, 1), rounds=2)
    assert "".join(order) == "aabaab"

    async def call(side: str) -> None:
        order.append(side)

    order.clear()
    asyncio.run(
        measure.alternate_async(lambda: call("a"), lambda: call("b"), times=(1, 2), rounds=2)
    )
    assert "".join(order) == "abbabb"


@pytest.mark.parametrize(("percent", "value"), [(0, 1.0), (50, 51.0), (99, 100.0), (100, 100.0)])
def test_percentiles(percent: float, value: float) -> None:
    assert measure.percentile([float(n) for n in range(100, 0, -1)], percent) == value


@pytest.mark.slow
def test_every_benchmark_is_found_and_described() -> None:
    assert {"marshal", "tool_call", "first_call", "socket"} <= set(collect.names())
    listed = command("--list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == collect.names()
    assert all(len(line.split()) > 3 for line in listed)


@pytest.mark.slow
def test_the_json_is_one_object_with_the_machine_and_the_results() -> None:
    done = command("--json", "--quick", "--only", "kv")
    result = json.loads(done.stdout)
    assert done.returncode == 0
    assert result["ok"] is True
    assert {"cpus", "python", "wasmtime"} <= set(result["machine"])
    assert all(row["name"] and row["ratio"] > 0 for row in result["results"])


def test_a_crash_is_a_row_and_a_status() -> None:
    (row,) = collect.run_apart("nothing", quick=True)  # the child refuses the name
    assert "invalid choice" in row["error"]
    assert any("CRASHED" in line for line in table({}, [row]))


def test_an_unknown_name_is_refused() -> None:
    done = command("--only", "nothing")
    assert done.returncode == 2
    assert "invalid choice" in done.stderr


def test_the_table_marks_misses() -> None:
    rows = [
        measure.at_least("fast enough", 9, 8, detail={"ours_us": 1}),
        measure.at_least("too slow", 7, 8, detail={}),
        measure.information("good to know", 3, unit="us"),
    ]
    marks = [line.split()[0] for line in table({"cpus": 2}, rows)[2:] if line[:1].strip()]
    assert marks == ["ok", "MISSED", "info"]
    cells = [line.split(" | ")[2] for line in markdown(rows)[2:]]
    assert cells == [">= 8", ">= 8 **missed**", "-"]
