"""The error tree: codes are unique, stable in form, and every class says how a process ends."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from astrid_hookspecs import errors, exits
from astrid_hookspecs.errors import AstridError

CLASSES = [
    found
    for found in vars(errors).values()
    if isinstance(found, type) and issubclass(found, AstridError)
]
STATUSES = {value for name, value in vars(exits).items() if name.startswith("EXIT_")}


def test_codes_are_unique() -> None:
    counted = Counter(found.default_code for found in CLASSES)
    assert [code for code, count in counted.items() if count > 1] == []


@pytest.mark.parametrize("found", CLASSES, ids=lambda found: found.__name__)
def test_every_class_has_a_stable_code_and_a_documented_exit_status(
    found: type[AstridError],
) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*(\.[a-z]+(-[a-z]+)*)*", found.default_code)
    assert "default_code" in vars(found)
    assert found.exit_code in STATUSES
    assert found.__name__.endswith("Error")
    assert found.__doc__


def test_exit_statuses_are_unique_and_documented() -> None:
    from pathlib import Path  # noqa: PLC0415 - used here only

    text = (Path(__file__).parents[2] / "docs" / "exit-codes.md").read_text()
    documented = {int(number) for number in re.findall(r"^\| (\d+) \|", text, flags=re.MULTILINE)}
    assert documented == STATUSES
