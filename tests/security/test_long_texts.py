"""Attack: a guest fills its memory with one text and hands it to the host.

No deadline covers what the kernel does with it, and most of it holds the interpreter, so that
everybody waits. Every function of the ABI is tried that takes a text.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import wasmtime

from astrid_core import Kernel
from astrid_core.domain.abi import parse_signature
from astrid_core.domain.wit_types import (
    EnumOf,
    FlagsOf,
    Handle,
    ListOf,
    OptionOf,
    Primitive,
    RecordOf,
    TupleOf,
    VariantOf,
    WitType,
)
from astrid_core.host.abi import load_abi
from astrid_core.host.capsule import CapsuleHost
from astrid_core.host.registry import all_handlers
from astrid_hookspecs.engines import MIB, Call, Limits, WitError
from astrid_hookspecs.errors import AstridError, EngineError, PolicyDeniedError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL
from tests.support.capsules import ANSWER, answering, install, manifest, tool, write_capsule

SIZE: Final = 4 * MIB
"""A guest has sixteen times as much."""
MOST_S: Final = 0.25
"""Of one thread's time; reading a text of this size once takes a twentieth, what was found here
took one to three seconds."""
PIECES: Final = ("\x01", "a\n", "/", "ab ", "a.", "1:", "[", "é", "%41")
ASKS_FOR: Final = """
[publish]
"p.*" = "opaque"
[subscribe]
"p.*" = "opaque"
[capabilities]
fs_read = ["cwd://", "home://", "tmp://"]
fs_write = ["cwd://", "home://", "tmp://"]
uplink = true
identity = ["admin"]
host_process = ["ls"]
net = ["*"]
"""

Where = tuple[object, ...]


def texts_in(item: WitType, path: Where = ()) -> Iterator[Where]:
    """Where in a value of a type a text stands."""
    match item:
        case Primitive("string"):
            yield path
        case ListOf(part) | OptionOf(part):
            yield from texts_in(part, (*path, 0))
        case TupleOf(parts):
            for at, part in enumerate(parts):
                yield from texts_in(part, (*path, at))
        case RecordOf(fields):
            for at, field in enumerate(fields):
                yield from texts_in(field.type, (*path, at))
        case VariantOf(cases):
            for case in cases:
                if case.type is not None:
                    yield from texts_in(case.type, (*path, case.name))


def value(item: WitType, path: Where | None, text: str) -> Any:  # noqa: C901, PLR0911 - one case per type
    """A value of a type that is as small as can be, with the text at the path; None for nowhere."""
    match item:
        case Primitive(name):
            if name == "string":
                return text if path == () else "a"
            return {"bool": False, "char": "a"}.get(name, 1)
        case ListOf(Primitive("u8")):
            return b"x"
        case ListOf(part):
            return [value(part, path[1:], text)] if path else []
        case OptionOf(part):
            return value(part, path[1:], text) if path else None
        case TupleOf(parts):
            return _row(parts, path, text)
        case RecordOf(fields):
            return _row(tuple(field.type for field in fields), path, text)
        case VariantOf(cases):
            name = path[0] if path else cases[0].name
            (kind,) = (case.type for case in cases if case.name == name)
            return name, None if kind is None else value(kind, path[1:] if path else None, text)
        case EnumOf(cases):
            return cases[0].name
        case FlagsOf():
            return frozenset()
    raise AssertionError(item)


def _row(parts: tuple[WitType, ...], path: Where | None, text: str) -> tuple[Any, ...]:
    return tuple(
        value(part, path[1:] if path and path[0] == at else None, text)
        for at, part in enumerate(parts)
    )


def ways() -> Iterator[tuple[str, str, tuple[WitType, ...], int, Where]]:
    """Every text that a guest can hand in: interface, function, parameters, which one, where."""
    for name, shapes in load_abi().items():
        interface, _, function = name.partition("#")
        for shape in shapes:
            params = tuple(field.type for field in parse_signature(shape).params)
            if any(isinstance(param, Handle) for param in params):
                continue
            for at, param in enumerate(params):
                for path in texts_in(param):
                    yield interface, function, params, at, path


def longest_s(
    host: CapsuleHost, way: tuple[str, str, tuple[WitType, ...], int, Where]
) -> tuple[float, str]:
    """The longest that a function worked on a text of this size, and of what it was made."""
    interface, function, params, at, path = way
    worst = (0.0, "")
    for piece in PIECES:
        text = piece * (SIZE // len(piece.encode()))
        purpose: Any = "lifecycle" if "elicit" in interface else "call"
        guest = host.open_instance(DEFAULT_PRINCIPAL, purpose=purpose)
        call = Call(DEFAULT_PRINCIPAL, Limits(64 * MIB, 1.0))
        arguments = [
            value(param, path if at == number else None, text)
            for number, param in enumerate(params)
        ]
        handler = guest.handler(interface, function)
        assert handler is not None
        guest.enter(call, deadline=time.monotonic())  # nothing that waits does so for long
        began = time.thread_time()
        try:
            handler(*arguments)
        except (WitError, AstridError):
            pass
        finally:
            worst = max(worst, (time.thread_time() - began, piece))
            guest.leave()
            guest.close()
    return worst


@pytest.mark.slow
def test_no_host_function_works_long_on_a_text_that_fills_a_guests_memory(tmp_path: Path) -> None:
    assert ("astrid:approval/host@1.0.0", "request-approval") in all_handlers()

    async def main() -> dict[str, tuple[float, str]]:
        async with Kernel.open(home=tmp_path / "home") as kernel:
            source = write_capsule(
                tmp_path / "big", answering("continue"), manifest("big", body=ASKS_FOR)
            )
            await install(kernel, source)
            (capsule,) = kernel.capsules()
            return {
                f"{interface}#{function} {at}{path}": longest
                for interface, function, params, at, path in ways()
                if (longest := longest_s(capsule.host, (interface, function, params, at, path)))[0]
                > MOST_S
            }

    assert asyncio.run(main()) == {}


HUGE: Final = 8 * MIB


def answering_with_all_its_memory(action: str) -> bytes:
    """A component whose hook answers with 8 MiB of NUL."""
    text = ANSWER.format(
        action=action, action_size=len(action), data="", has_data=1, data_size=HUGE, body=""
    )
    text = text.replace('"memory") 1)', f'"memory") {HUGE // 65536 + 1})')
    at = "(i32.store (i32.const 1036) (i32.const {}))"
    assert at.format(64) in text
    return bytes(wasmtime.wat2wasm(text.replace(at.format(64), at.format(65536))))


@pytest.mark.parametrize("action", ["continue", "final", "deny"])
def test_an_answer_that_fills_a_guests_memory_goes_no_further(tmp_path: Path, action: str) -> None:
    """The next member would get it as its payload, which takes the host 80 times as much."""
    guard = '[subscribe]\n"tool.v1.execute.*" = { wit = "opaque", handler = "g", priority = 1 }\n'

    async def main() -> None:
        async with Kernel.open(home=tmp_path / "home") as kernel:
            for name, component, body in (
                ("guard", answering_with_all_its_memory(action), guard),
                ("tool", answering("continue"), tool("x")),
            ):
                await install(
                    kernel, write_capsule(tmp_path / name, component, manifest(name, body=body))
                )
            with pytest.raises((EngineError, PolicyDeniedError)) as caught:
                await kernel.call_tool("x")
            assert len(str(caught.value)) < 2000
            (asked,) = [capsule for capsule in kernel.capsules() if capsule.id == "tool"]
            assert asked.stats()["calls"] == (0 if action == "deny" else 1)
            assert asked.stats()["traps"] == 0

    asyncio.run(main())
