"""Small capsules for kernel tests, written as component text and installed the way users do it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import wasmtime

from astrid_core import Kernel
from astrid_core.kernel.install.model import InstallResult
from astrid_core.kernel.install.sources import Source

EXAMPLES = Path(__file__).parents[2] / "examples" / "capsules"
T = TypeVar("T")

ANSWER = """
(component
  (core module $M
    (memory (export "memory") 1)
    (data (i32.const 0) "{action}")
    (data (i32.const 64) "{data}")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
    (func (export "hook") (param i32 i32 i32 i32) (result i32)
      {body}
      (i32.store (i32.const 1024) (i32.const 0))
      (i32.store (i32.const 1028) (i32.const {action_size}))
      (i32.store8 (i32.const 1032) (i32.const {has_data}))
      (i32.store (i32.const 1036) (i32.const 64))
      (i32.store (i32.const 1040) (i32.const {data_size}))
      (i32.const 1024)))
  (core instance $m (instantiate $M))
  (alias core export $m "memory" (core memory $memory))
  (alias core export $m "realloc" (core func $realloc))
  (type $life (instance
    (type $result' (record (field "action" string) (field "data" (option string))))
    (export "capsule-result" (type (eq $result')))))
  (import "astrid:guest/lifecycle@1.0.0" (instance $lifecycle (type $life)))
  (alias export $lifecycle "capsule-result" (type $result))
  (func (export "astrid-hook-trigger")
    (param "action" string) (param "payload" (list u8)) (result $result)
    (canon lift (core func $m "hook")
      (memory $memory) (realloc $realloc) string-encoding=utf8)))
"""


def answering(action: str, data: str | None = None, *, body: str = "") -> bytes:
    """A component whose hook always gives the same answer, after running `body`."""
    return wasmtime.wat2wasm(
        ANSWER.format(
            action=action,
            action_size=len(action),
            data=(data or "").replace('"', '\\"'),
            has_data=int(data is not None),
            data_size=len(data or ""),
            body=body,
        )
    )


def write_capsule(directory: Path, component: bytes, manifest: str) -> Source:
    """A capsule directory; the manifest's component is `guest.wasm`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "guest.wasm").write_bytes(component)
    (directory / "Capsule.toml").write_text(manifest)
    return Source(directory, "directory")


def manifest(name: str, *, version: str = "1.0.0", body: str = "") -> str:
    """A manifest with one component."""
    return (
        f'[package]\nname = "{name}"\nversion = "{version}"\n'
        f'[[component]]\nfile = "guest.wasm"\n{body}'
    )


def tool(name: str, *, priority: int = 100) -> str:
    """The subscribe table of a capsule with one tool."""
    return (
        f'[subscribe]\n"tool.v1.execute.{name}" = '
        f'{{ wit = "opaque", handler = "tool_execute_{name}", priority = {priority} }}\n'
    )


async def install(kernel: Kernel, source: Source | Path) -> InstallResult:
    """Install and load."""
    with kernel.stage(source) as staged:
        return await kernel.install(staged)


async def install_example(kernel: Kernel, name: str) -> InstallResult:
    """Build one of the examples written as component text, and install it."""
    with kernel.build(EXAMPLES / name) as built:
        return await install(kernel, built.directory)


async def eventually(condition: Callable[[], bool], *, timeout_s: float = 5.0) -> None:
    """Wait until the condition holds; fail when it never does."""
    for _ in range(int(timeout_s / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("the condition never came true")
