"""A directory counts as built only when what its manifest executes is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from astrid_core.cli.capsule_project import _is_built

HEADER = '[package]\nname = "x"\nversion = "1.0.0"\n'
COMPONENT = '[[component]]\nfile = "x.wasm"\n'


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, False),
        ({"Capsule.toml": HEADER}, True),
        ({"Capsule.toml": HEADER, "pyproject.toml": ""}, False),
        ({"Capsule.toml": HEADER, "x.wat": ""}, False),
        ({"Capsule.toml": HEADER + COMPONENT}, False),
        ({"Capsule.toml": HEADER + COMPONENT, "x.wasm": ""}, True),
        ({"Capsule.toml": HEADER + COMPONENT, "x.wasm": "", "x.wat": ""}, True),
    ],
)
def test_is_built(tmp_path: Path, files: dict[str, str], expected: bool) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert _is_built(tmp_path) is expected
