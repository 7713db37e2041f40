"""Capsules that offer models."""

from __future__ import annotations

from pathlib import Path

import wasmtime

from astrid_core import Kernel
from tests.support.capsules import install, write_capsule
from tests.support.guests import ECHO


def model(provider: str) -> bytes:
    """A provider of a model that answers with the first text of what it is asked."""
    begin = r"{\"type\":\"llm_response\",\"request_id\":\""
    between = r"\",\"response\":{\"message\":{\"role\":\"assistant\",\"content\":\""
    end = (
        r"\"},\"has_tool_calls\":false,\"stop_reason\":\"EndTurn\","
        r"\"usage\":{\"input_tokens\":3,\"output_tokens\":2}}}"
    )
    topic = f"llm.v1.stream.{provider}"
    sizes = [len(part.replace("\\", "")) for part in (begin, between, end)]
    text = ECHO.read_text()
    for old, new in (
        (r'(i32.const 0) "\"call_id\":\""', r'(i32.const 0) "\"request_id\":\""'),
        (r'(i32.const 16) "\"text\":\""', r'(i32.const 16) "\"content\":\""'),
        ('"tool.v1.execute.echo.result"', f'"{topic}"'),
        (r'"{\"type\":\"tool_execute_result\",\"call_id\":\""', f'"{begin}"'),
        (r'"\",\"result\":{\"call_id\":\""', f'"{between}"'),
        (r'(i32.const 224) "\",\"is_error\":false}}"', f'(i32.const 640) "{end}"'),
        ("(i32.const 0) (i32.const 11)", "(i32.const 0) (i32.const 14)"),
        ("(i32.const 16) (i32.const 8)", "(i32.const 16) (i32.const 11)"),
        ("(i32.const 64) (i32.const 41)", f"(i32.const 64) (i32.const {sizes[0]})"),
        ("(i32.const 128) (i32.const 23)", f"(i32.const 128) (i32.const {sizes[1]})"),
        ("(i32.const 192) (i32.const 13)", "(i32.const 192) (i32.const 0)"),
        (
            "(i32.const 224) (i32.const 20)",
            f"(i32.const 640) (i32.const {sizes[2]})",
        ),
        ("(i32.const 32) (i32.const 27)", f"(i32.const 32) (i32.const {len(topic)})"),
    ):
        if old not in text:
            raise ValueError(f"the guest has no {old!r} any more")
        text = text.replace(old, new)
    copied = "(local.set $to (call $append (local.get $to) (local.get $id) (local.get $id-size)))"
    first, second, rest = text.split(copied)
    return bytes(wasmtime.wat2wasm(first + copied + second + rest))


MODEL_MANIFEST = """
[package]
name = "{name}"
version = "1.0.0"
[[component]]
file = "guest.wasm"
[publish]
"llm.v1.stream.{provider}" = {{ wit = "opaque" }}
[subscribe]
"llm.v1.request.generate.{provider}" = {{ wit = "opaque", handler = "generate" }}
"""


async def add_model(kernel: Kernel, directory: Path, *, provider: str) -> None:
    """Install a capsule that offers a model."""
    manifest = MODEL_MANIFEST.format(name=f"{provider}-model", provider=provider)
    await install(kernel, write_capsule(directory, model(provider), manifest))
