"""Every test vector of the reference has a test, or a reason why it has none yet.

`vectors.json` maps the numbers of each page to tests. An entry is `file::function`, for all cases
of the function, or `file::function[#]` for the cases whose id names the number, as one of the parts
between hyphens (`83`, `83-not-json`, `87-102-within`). Anything else in the brackets is one case.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).with_name("vectors.json")
SIZES = {"capsules-and-bus 12": 130, "host-abi 21": 145, "kernel-and-security 15": 191}
"""How many vectors each page has."""
REQUIRED = {
    "capsules-and-bus 12": {*range(1, 131)} - {93, 126, 127, 128},
    "host-abi 21": {*range(1, 76), *range(77, 125), *range(132, 146)},
    "kernel-and-security 15": {
        *range(1, 6),
        *range(7, 12),
        13,
        *range(15, 138),
        *range(144, 152),
        *range(153, 160),
        161,
        162,
        *range(164, 178),
        *range(189, 192),
    },
}
"""What is built, so that a reason is no excuse."""


class Row(NamedTuple):
    page: str
    numbers: range
    tests: tuple[str, ...]
    later: str | None


def rows() -> list[Row]:
    found = []
    for page, entries in json.loads(TABLE.read_text()).items():
        for entry in entries:
            assert entry.keys() <= {"vectors", "tests", "later"}
            first, _, last = entry["vectors"].partition("-")
            numbers = range(int(first), int(last or first) + 1)
            found.append(Row(page, numbers, tuple(entry.get("tests", ())), entry.get("later")))
    return found


ROWS = rows()


@pytest.fixture(scope="module")
def cases() -> Mapping[str, set[str]]:
    """The ids that pytest finds, by `file::function`; {""} for a function without cases."""
    files = sorted({test.partition("::")[0] for row in ROWS for test in row.tests})
    options = (
        "--collect-only",
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=--import-mode=importlib",
    )
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        cwd=ROOT,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert listed.returncode == 0, listed.stdout[-2000:] + listed.stderr[-2000:]
    found: dict[str, set[str]] = {}
    for line in listed.stdout.splitlines():
        match = re.fullmatch(r"(\S+?::\w+)(?:\[(.*)\])?", line)
        if match:
            found.setdefault(match[1], set()).add(match[2] or "")
    return found


def expanded() -> Iterator[tuple[int, str]]:
    """Every test of the table with the number it is for."""
    for row in ROWS:
        for number in row.numbers:
            for test in row.tests:
                yield number, test


def runs(test: str, number: int, cases: Mapping[str, set[str]]) -> bool:
    function, bracket, wanted = test.partition("[")
    ids = cases.get(function, set())
    if not bracket:
        return bool(ids)
    if wanted == "#]":
        return any(str(number) in case.split("-") for case in ids)
    return wanted.removesuffix("]") in ids


def test_every_number_is_in_one_row() -> None:
    listed = Counter((row.page, number) for row in ROWS for number in row.numbers)
    assert listed == Counter(
        (page, number) for page, size in SIZES.items() for number in range(1, size + 1)
    )


def test_a_row_has_tests_or_a_reason() -> None:
    assert [row for row in ROWS if not row.tests and len(row.later or "") < 20] == []


def test_what_is_built_is_tested() -> None:
    tested = {(row.page, number) for row in ROWS if row.tests for number in row.numbers}
    required = {(page, number) for page, numbers in REQUIRED.items() for number in numbers}
    assert sorted(required - tested) == []


@pytest.mark.slow
def test_the_tests_exist(cases: Mapping[str, set[str]]) -> None:
    assert [(n, test) for n, test in expanded() if not runs(test, n, cases)] == []


def test_a_missing_test_would_be_noticed() -> None:
    known = {"f.py::test_a": {"83-x", "184"}, "f.py::test_b": {""}}
    assert runs("f.py::test_a[#]", 83, known)
    assert runs("f.py::test_a[184]", 83, known)
    assert runs("f.py::test_b", 83, known)
    assert not runs("f.py::test_a[#]", 84, known)
    assert not runs("f.py::test_a[83]", 83, known)
    assert not runs("f.py::test_c", 83, known)
