"""The index of decisions names every page, under its number and with its title."""

from __future__ import annotations

import re

from tests.docs.markdown import DOCS

ADR = DOCS / "adr"
ROW = re.compile(r"^\| \[(\d{4})\]\(([^)]+)\) \| (.+) \|$", re.MULTILINE)


def test_the_index_of_decisions_is_complete() -> None:
    rows = ROW.findall((ADR / "README.md").read_text())
    pages = sorted(path.name for path in ADR.glob("[0-9]*.md"))
    assert [name for _, name, _ in rows] == pages
    assert [number for number, _, _ in rows] == [name[:4] for name in pages]
    numbers = [int(number) for number, _, _ in rows]
    assert numbers == list(range(1, len(numbers) + 1))


def test_each_decision_is_listed_by_its_title() -> None:
    for number, name, title in ROW.findall((ADR / "README.md").read_text()):
        heading = (ADR / name).read_text().partition("\n")[0]
        assert title in heading, f"{number}: {heading!r} is listed as {title!r}"
