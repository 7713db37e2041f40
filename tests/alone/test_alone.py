"""The core without any plugin: it boots, denies everything and says what to install.

Runs in an environment of its own (`tox -e alone`); elsewhere the plugins are there and it skips.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from astrid_core import Kernel
from astrid_core.kernel.install.sources import Source
from astrid_hookspecs.errors import PluginLoadError, ToolNotFoundError

if importlib.util.find_spec("astrid_engine_wasm") is not None:
    pytest.skip("plugins are installed here", allow_module_level=True)

MANIFEST = """
[package]
name = "hello"
version = "1.0.0"
[[component]]
file = "hello.wasm"
[subscribe]
"tool.v1.execute.hello" = { wit = "opaque", handler = "tool_execute_hello" }
"""


def capsule(directory: Path) -> Source:
    directory.mkdir()
    (directory / "Capsule.toml").write_text(MANIFEST)
    (directory / "hello.wasm").write_bytes(b"\0asm\x0d\0\x01\0")
    return Source(directory, "directory")


def test_it_boots_and_knows_no_tool(tmp_path: Path) -> None:
    async def main() -> None:
        async with Kernel.open(home=tmp_path / "home") as kernel:
            assert kernel.capsules() == []
            assert kernel.tools() == []
            with pytest.raises(ToolNotFoundError):
                await kernel.call_tool("hello")

    asyncio.run(main())


def test_installing_a_component_says_which_plugin_is_missing(tmp_path: Path) -> None:
    async def main() -> None:
        async with Kernel.open(home=tmp_path / "home") as kernel:
            source = capsule(tmp_path / "hello")
            with kernel.stage(source) as staged, pytest.raises(PluginLoadError) as caught:
                await kernel.install(staged)
            assert caught.value.code == "plugin.missing"
            assert "pip install astrid-engine-wasm" in (caught.value.hint or "")
            assert kernel.capsules() == []

    asyncio.run(main())


def test_the_command_line_lists_only_the_core(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "astrid_core", "plugins", "list", "--json"],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    rows = json.loads(done.stdout)
    assert {row["distribution"] for row in rows} == {"astrid-core"}


def test_a_source_tree_is_not_installed_as_a_capsule_in_which_nothing_runs(tmp_path: Path) -> None:
    project = tmp_path / "notes"
    project.mkdir()
    (project / "Capsule.toml").write_text('[package]\nname = "notes"\nversion = "0.1.0"\n')
    (project / "pyproject.toml").write_text('[tool.astrid]\nmodule = "notes"\n')
    done = subprocess.run(
        [sys.executable, "-m", "astrid_core", "capsule", "install", "notes", "--yes", "--json"],
        cwd=tmp_path, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "capsule.no-builder"
    assert error["hint"] == "run: pip install astrid-sdk"
