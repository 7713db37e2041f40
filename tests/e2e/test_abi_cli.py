"""`astrid abi` in real processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from astrid_core.host.abi import load_abi
from tests.support.commands import run_astrid

ECHO = (Path(__file__).parents[1] / "benchmarks/guests/echo_tool.wat").read_text()


def astrid(directory: Path, *arguments: str) -> Any:
    return run_astrid(
        *arguments, cwd=directory, env={"ASTRID_HOME": str(directory / "h"), "NO_COLOR": "1"}
    )


@pytest.mark.slow
def test_every_interface_is_listed_with_its_functions(tmp_path: Path) -> None:
    rows = json.loads(astrid(tmp_path, "abi", "list", "--json").stdout)
    listed = {f"{row['interface']}#{name}" for row in rows for name in row["functions"]}
    assert listed == {name for name, texts in load_abi().items() if texts}
    shapes = {row["interface"]: row["shapes"] for row in rows}
    assert shapes["astrid:process/host@1.0.0"] == 3
    assert "astrid:net/host@1.0.0" in astrid(tmp_path, "abi", "list").stdout


def test_a_component_that_fits_is_described(tmp_path: Path) -> None:
    file = tmp_path / "echo.wasm"
    file.write_bytes(wasmtime.wat2wasm(ECHO))
    ended = astrid(tmp_path, "abi", "check", str(file), "--json")
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["imports"] == ["astrid:guest/lifecycle@1.0.0", "astrid:ipc/host@1.0.0"]
    assert found["manifest"] == ["[publish]", "[subscribe]"]


CALLS_WITH_A_NUMBER = """
(component
  (import "astrid:ipc/host@1.0.0" (instance
    (export "publish" (func (param "topic" string) (param "payload" u32))))))
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CALLS_WITH_A_NUMBER, "publish"),
        (ECHO.replace("astrid:ipc/host@1.0.0", "astrid:ipc/host@9.0.0"), "astrid:ipc/host@9.0.0"),
        (ECHO.replace("astrid:ipc/host@1.0.0", "wasi:cli/run@0.2.0"), "wasi:cli/run@0.2.0"),
    ],
    ids=["shape", "version", "wasi"],
)
def test_what_does_not_fit_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "odd.wasm"
    file.write_bytes(wasmtime.wat2wasm(text))
    ended = astrid(tmp_path, "abi", "check", str(file))
    assert ended.returncode != 0
    assert said in ended.stderr


@pytest.mark.parametrize("data", [b"", b"text", b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0\xff\xff"])
@pytest.mark.slow
def test_what_is_no_component_is_told(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "none.wasm"
    file.write_bytes(data)
    ended = astrid(tmp_path, "abi", "check", str(file))
    assert ended.returncode != 0
    assert "error:" in ended.stderr
    assert astrid(tmp_path, "abi", "check", str(tmp_path / "missing.wasm")).returncode != 0
