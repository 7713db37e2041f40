"""Output that cannot be written is an error in one line, whatever the way to a command is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.place import ASTRID


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("--version",), ("version",), ("plugins", "list", "--json")],
    ids=" ".join,
)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")
def test_a_full_disk_is_named(arguments: tuple[str, ...], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [ASTRID, *arguments],
            env={**os.environ, "ASTRID_HOME": str(tmp_path / "home"), "PYTHONUNBUFFERED": "1"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith("✗ error: ")
    assert "No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("arguments", [("capsule", "show", "x"), ("plugins", "list"), ("nothing",)])
@pytest.mark.slow
def test_nobody_reading_json_is_no_defect(arguments: tuple[str, ...], tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = subprocess.run(
            [ASTRID, *arguments, "--json"],
            env={**os.environ, "ASTRID_HOME": str(tmp_path / "home")},
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writer)
    assert ended.returncode in {1, 2}
    assert "Traceback" not in ended.stderr
