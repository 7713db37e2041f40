"""A component that imports every function of every package links, loads, runs, and is described.

The world has the newer version of `astrid:http`; its own tests have a component for each.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from astrid_core import Kernel
from astrid_core.host.abi import load_abi
from astrid_core.host.registry import all_handlers
from tests.support.capsules import install, manifest, tool, write_capsule
from tests.support.commands import run_astrid
from tests.support.heartbeat import once

WIT = Path(__file__).parents[2] / "wit"
START = "import sys; from componentize_py import script; sys.exit(script())"
APP = """
from wit_world import WitWorld as Base
from wit_world.imports import astrid_guest_lifecycle_1_0_0 as lifecycle


class WitWorld(Base):
    def astrid_hook_trigger(self, action, payload):
        return lifecycle.CapsuleResult("deny", "every import is there")
"""


def every_function() -> set[tuple[str, str]]:
    names = (name.partition("#") for name, texts in load_abi().items() if texts)
    return {(interface, function) for interface, _, function in names}


def interfaces() -> set[str]:
    return {interface for interface, _ in every_function()}


def test_every_function_has_a_handler() -> None:
    assert every_function() == set(all_handlers())


@pytest.fixture(scope="module")
def component(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with once(tmp_path_factory, "every-import") as (base, is_first):
        if is_first:
            build(base)
    return base / "guest.wasm"


def build(base: Path) -> None:
    shutil.copytree(WIT / "deps", base / "wit" / "deps")
    shutil.copy(WIT / "capsule.wit", base / "wit")
    for name, text in (("python", APP), ("empty/lib/site-packages", "")):
        (base / name).mkdir(parents=True)
        (base / name / "app.py").write_text(text)
    arguments = ["-d", str(base / "wit"), "-w", "handler", "--full-names", "componentize"]
    arguments += ["--stub-wasi", "-p", str(base / "python"), "app", "-o", str(base / "guest.wasm")]
    ended = subprocess.run(
        [sys.executable, "-c", START, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={"VIRTUAL_ENV": str(base / "empty"), "PYTHONHASHSEED": "0"},
        cwd=base,
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
def test_it_is_described_with_what_its_manifest_needs(component: Path, tmp_path: Path) -> None:
    ended = run_astrid(
        "abi",
        "check",
        str(component),
        "--json",
        cwd=tmp_path,
        env={"ASTRID_HOME": str(tmp_path / "h")},
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert interfaces() - {"astrid:http/host@1.0.0"} <= set(found["imports"])
    assert found["class"] == "call-driven"
    assert {"net", "fs_read", "host_process", "uplink", "identity"} <= set(found["manifest"])


@pytest.mark.slow
def test_it_loads_and_answers(component: Path, tmp_path: Path) -> None:
    text = manifest("every", body=tool("ask"))
    source = write_capsule(tmp_path / "c", component.read_bytes(), text)

    async def main() -> None:
        async with Kernel.open(home=tmp_path / "home") as kernel:
            await install(kernel, source)
            with pytest.raises(Exception, match="every import is there"):
                await kernel.call_tool("ask")

    asyncio.run(main())
