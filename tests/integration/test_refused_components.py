"""Components that cannot run, through the whole kernel: a typed error, and nothing stays behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from astrid_core import Kernel
from astrid_hookspecs.errors import AstridError, CapsuleNotFoundError, ComponentError, ToolError
from tests.support.capsules import answering, install, install_example, manifest, write_capsule
from tests.support.guests import engine_guest

Run = Callable[..., Any]

NEWER = """(component (import "astrid:http/host@1.9.0" (instance
  (export "http-request" (func (param "url" string))))))"""
REFUSED: dict[str, tuple[bytes, str, str, str]] = {
    "133-wasi": (
        engine_guest("wasi.wat"),
        "engine.component.import",
        "wasi:io/poll@0.2.0",
        "--stub-wasi",
    ),
    "133-newer-version": (
        bytes(wasmtime.wat2wasm(NEWER)),
        "engine.component.import",
        "astrid:http/host@1.9.0",
        "",
    ),
    "wrong-shape": (
        engine_guest("wrong_shape.wat"),
        "engine.component.shape",
        "astrid:kv/host@1.0.0#kv-get",
        "",
    ),
    "truncated": (answering("continue")[:-7], "engine.component.invalid", "damaged", ""),
    "text": (b"just some text\n", "engine.component.not-a-component", "text", ""),
    "core-module": (
        bytes(wasmtime.wat2wasm('(module (func (export "run")))')),
        "engine.component.not-a-component",
        "core WebAssembly module",
        "",
    ),
    "empty": (b"", "engine.component.not-a-component", "empty", ""),
}


def files(home: Path) -> set[str]:
    """Every file and directory of a home, except what the running kernel itself writes."""
    return {
        path.relative_to(home).as_posix()
        for path in home.rglob("*")
        if not path.is_relative_to(home / "var") and "log" not in path.parts
    }


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_reason_and_nothing_stays_behind(
    run: Run, tmp_path: Path, case: str
) -> None:
    component, code, named, advice = REFUSED[case]
    home = tmp_path / "home"

    async def work(kernel: Kernel) -> None:
        await install_example(kernel, "spinner")
        before = files(home)
        with pytest.raises(ComponentError) as caught:
            await install(kernel, write_capsule(tmp_path / "bad", component, manifest("bad")))
        assert caught.value.code == code
        assert caught.value.message.startswith("guest.wasm: ")
        assert named in caught.value.message
        assert caught.value.hint
        assert advice in caught.value.hint
        assert str(tmp_path) not in str(caught.value)
        assert files(home) == before
        assert [capsule.id for capsule in kernel.capsules()] == ["spinner"]
        with pytest.raises(CapsuleNotFoundError):
            await kernel.reload("bad")
        with pytest.raises(ToolError) as still_works:
            await kernel.call_tool("spin", timeout_s=0.05)
        assert still_works.value.code == "tool.timeout"

    run(work)


@pytest.mark.parametrize("case", REFUSED)
def test_an_upgrade_to_it_leaves_the_old_version_serving(
    run: Run, tmp_path: Path, case: str
) -> None:
    body = '[subscribe]\n"tool.v1.execute.ask" = { wit = "opaque", handler = "ask" }\n'

    async def work(kernel: Kernel) -> None:
        good = write_capsule(
            tmp_path / "good", answering("deny", "still here"), manifest("c", body=body)
        )
        await install(kernel, good)
        before = files(tmp_path / "home")
        bad = write_capsule(
            tmp_path / "bad", REFUSED[case][0], manifest("c", version="2.0.0", body=body)
        )
        with pytest.raises(ComponentError):
            await install(kernel, bad)
        assert files(tmp_path / "home") == before
        for _ in range(2):
            with pytest.raises(AstridError, match="still here"):
                await kernel.call_tool("ask")
            await kernel.reload("c")
        assert [capsule.spec.version for capsule in kernel.capsules()] == ["1.0.0"]

    run(work)
