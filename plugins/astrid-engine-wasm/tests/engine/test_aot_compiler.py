from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from astrid_engine_wasm import compiler as compiler_module
from astrid_engine_wasm.compile_child import JobLimits
from astrid_engine_wasm.compile_reply import estimate_fraction
from astrid_engine_wasm.compiler import Compiler, default_limits
from astrid_engine_wasm.report import ComponentFacts, facts_from_json
from astrid_hookspecs.errors import ComponentError, EngineError

Abi = Mapping[str, tuple[str, ...]]
Compile = Callable[..., ComponentFacts]


@pytest.fixture
def compiler(abi: Abi) -> Iterator[Compiler]:
    made = Compiler(abi=abi)
    yield made
    made.close()


def run(compiler: Compiler, component: Path, **options: Any) -> ComponentFacts:
    output = component.with_suffix(".out")
    with component.open("rb") as source, output.open("w+b") as target:
        return compiler.compile(
            source.fileno(),
            target.fileno(),
            size_bytes=component.stat().st_size,
            **options,
        )


def helper_pid(compiler: Compiler) -> int:
    assert compiler._helper is not None
    return compiler._helper._process.pid


def is_gone(pid: int, *, within_s: float = 5.0) -> bool:
    """Whether a process ended, waiting for it a little."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        threading.Event().wait(0.02)
    return False


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(part) for part in text.split()]


def leb(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def section(number: int, *items: bytes) -> bytes:
    body = leb(len(items)) + b"".join(items)
    return bytes([number]) + leb(len(body)) + body


def slow_component(functions: int = 1500) -> bytes:
    """A component that takes the compiler seconds; text of this size would take longer to parse."""
    statement = bytes.fromhex("2000 4207 89 2001 85 2100".replace(" ", ""))
    body = b"\0" + statement * 300 + b"\x20\0\x0b"
    module = (
        b"\0asm\x01\0\0\0"
        + section(1, b"\x60\x02\x7e\x7e\x01\x7e")
        + section(3, *[b"\0"] * functions)
        + section(10, *[leb(len(body)) + body] * functions)
    )
    return b"\0asm\x0d\0\x01\0\x01" + leb(len(module)) + module


def test_helper_serves_many_jobs_and_leaves_nothing_behind(bench: Any, compiler: Compiler) -> None:
    component = bench.component("acts.wat")
    first = run(compiler, component)
    pid = helper_pid(compiler)
    assert run(compiler, component) == first
    assert helper_pid(compiler) == pid
    assert children(pid) == []
    assert component.with_suffix(".out").read_bytes().startswith(b"\x7fELF")
    compiler.close()
    assert not Path(f"/proc/{pid}").exists(), "ended and reaped"
    with pytest.raises(EngineError, match="closed"):
        run(compiler, component)


def test_helper_that_was_killed_is_started_again(bench: Any, compiler: Compiler) -> None:
    component = bench.component("acts.wat")
    run(compiler, component)
    pid = helper_pid(compiler)
    os.kill(pid, signal.SIGKILL)
    assert run(compiler, component).report.has_hook
    assert helper_pid(compiler) != pid


@pytest.mark.slow
def test_child_does_not_outlive_a_killed_helper(bench: Any, compiler: Compiler) -> None:
    seen: list[int] = []

    def kill(_fraction: float) -> None:
        pid = helper_pid(compiler)
        if not seen and children(pid):
            seen.extend(children(pid))
            os.kill(pid, signal.SIGKILL)
            assert is_gone(seen[0])

    facts = run(compiler, bench.component(slow_component(1000)), on_fraction=kill)
    assert len(seen) == 1
    assert facts.report.exports == (), "the job was done again by a new helper"


def test_helper_that_cannot_start_is_an_error_of_the_engine(
    bench: Any, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(EngineError) as caught:
        run(compiler, bench.component("acts.wat"))
    assert caught.value.code == "engine.compiler-unavailable"
    monkeypatch.undo()
    assert run(compiler, bench.component("acts.wat")).report.has_hook


def test_helper_that_ends_at_once_is_an_error_and_not_a_loop(
    bench: Any, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler_module, "_MODULE", "astrid_engine_wasm.nothing")
    with pytest.raises(EngineError) as caught:
        run(compiler, bench.component("acts.wat"))
    assert caught.value.code in {
        "engine.compiler-unavailable",
        "engine.component.compiler-crashed",
    }


def test_idle_helper_is_stopped(
    bench: Any, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler_module, "IDLE_S", 0.05)
    run(compiler, bench.component("acts.wat"))
    pid = helper_pid(compiler)
    assert is_gone(pid)
    assert run(compiler, bench.component("acts.wat")).report.has_hook


def limits(**changes: Any) -> Callable[[int], JobLimits]:
    return lambda size: default_limits(size)._replace(**changes)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"address_space_bytes": 1 << 20}, "compiler-crashed", id="memory"),
        pytest.param({"cpu_s": 1}, "compiler-crashed", id="cpu"),
        pytest.param({"file_bytes": 4096}, "compiler-crashed", id="file"),
        pytest.param({"wall_s": 0.3}, "compile-timeout", id="wall"),
    ],
)
@pytest.mark.slow
def test_compiler_that_runs_into_a_limit_is_an_error_of_the_component(
    bench: Any, abi: Abi, changes: dict[str, Any], code: str
) -> None:
    compiler = Compiler(abi=abi, limits=limits(**changes))
    source = "acts.wat" if "file_bytes" in changes else slow_component(6000)
    try:
        with pytest.raises(ComponentError) as caught:
            run(compiler, bench.component(source))
        assert caught.value.code == f"engine.component.{code}"
        assert caught.value.hint
        assert children(helper_pid(compiler)) == []
    finally:
        compiler.close()


@pytest.mark.parametrize("end", [signal.SIGABRT, signal.SIGSEGV, signal.SIGKILL])
def test_compiler_that_crashes_is_an_error_of_the_component(
    bench: Any, compiler: Compiler, end: signal.Signals
) -> None:
    def kill(_fraction: float) -> None:
        for child in children(helper_pid(compiler)):
            os.kill(child, end)

    with pytest.raises(ComponentError, match=end.name) as caught:
        run(compiler, bench.component(slow_component()), on_fraction=kill)
    assert caught.value.code == "engine.component.compiler-crashed"
    assert run(compiler, bench.component("acts.wat")).report.has_hook


def test_interrupt_kills_the_child(bench: Any, compiler: Compiler) -> None:
    seen: list[int] = []

    def interrupt(_fraction: float) -> None:
        seen.extend(children(helper_pid(compiler)))
        if seen:  # the first calls come while the helper starts
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(compiler, bench.component(slow_component(6000)), on_fraction=interrupt)
    assert len(seen) == 1
    assert is_gone(seen[0], within_s=1.0), "long before it was done"
    assert run(compiler, bench.component("acts.wat")).report.has_hook


def test_close_stops_a_running_compilation(bench: Any, compiler: Compiler) -> None:
    component = bench.component(slow_component())
    closer: list[threading.Thread] = []

    def close(_fraction: float) -> None:
        if not closer:
            closer.append(threading.Thread(target=compiler.close))
            closer[0].start()

    began = time.monotonic()
    with pytest.raises(ComponentError) as caught:
        run(compiler, component, on_fraction=close)
    assert caught.value.code == "engine.component.compiler-crashed"
    assert time.monotonic() - began < 3.0
    closer[0].join()


def test_helper_and_child_end_with_a_killed_parent(bench: Any, tmp_path: Path) -> None:
    component = bench.component(slow_component())
    script = """
import os, sys
from astrid_engine_wasm.compiler import Compiler
compiler = Compiler(abi={})
def die(_):
    pid = compiler._helper._process.pid
    for child in open(f"/proc/{pid}/task/{pid}/children").read().split():
        print(pid, child, flush=True)
        os.kill(os.getpid(), 9)
source = os.open(sys.argv[1], os.O_RDONLY)
target = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT, 0o600)
compiler.compile(source, target, size_bytes=1000, on_fraction=die)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(component), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    helper, child = map(int, done.stdout.split())
    assert is_gone(helper)
    assert is_gone(child)


def test_progress_grows_and_reaches_one_only_at_the_end(bench: Any, compiler: Compiler) -> None:
    seen: list[float] = []
    run(compiler, bench.component(slow_component(100)), on_fraction=seen.append)
    assert seen == sorted(seen)
    assert all(0.0 <= fraction < 1.0 for fraction in seen)


@pytest.mark.parametrize("elapsed_ratio", [0.0, 0.5, 0.999, 1.0, 1.001, 50.0])
def test_progress_estimate_is_continuous_and_below_one(elapsed_ratio: float) -> None:
    fraction = estimate_fraction(elapsed_ratio)
    assert 0.0 <= fraction < 1.0
    assert estimate_fraction(elapsed_ratio + 0.001) >= fraction


def test_secrets_in_the_environment_do_not_reach_the_helper(
    bench: Any, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "hunter2")
    run(compiler, bench.component("acts.wat"))
    environment = Path(f"/proc/{helper_pid(compiler)}/environ").read_bytes()
    assert b"hunter2" not in environment


GOOD = {
    "digest": "0" * 64,
    "size_bytes": 8,
    "imports": [],
    "exports": ["run"],
    "has_hook": False,
    "has_run": True,
    "has_install": False,
    "has_upgrade": False,
    "memories": [[65536, None, 1]],
    "tables": [],
    "functions": [["astrid:kv/host@1.0.0", "kv-get", "astrid:kv/host@1.0.0", "func()"]],
    "resources": [["astrid:io/poll@1.0.0", "pollable", "astrid:io/poll@1.0.0/pollable"]],
}


def test_good_answer_is_understood() -> None:
    assert facts_from_json(GOOD).report.has_run


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {**GOOD, "digest": 1},
        {**GOOD, "size_bytes": -1},
        {**GOOD, "size_bytes": True},
        {**GOOD, "size_bytes": 1.5},
        {**GOOD, "imports": [1]},
        {**GOOD, "exports": 5},
        {**GOOD, "has_run": 1},
        {**GOOD, "memories": {}},
        {**GOOD, "memories": [[65536, None]]},
        {**GOOD, "memories": [[65536, None, -1]]},
        {**GOOD, "tables": [["1", None, 1]]},
        {**GOOD, "functions": "kv-get"},
        {**GOOD, "functions": [["a", "b", "c"]]},
        {**GOOD, "functions": [["a", "b", "c", 4]]},
        {**GOOD, "resources": {}},
        {**GOOD, "resources": [["a", "b"]]},
    ],
)
def test_answers_of_another_shape_are_refused(answer: object) -> None:
    with pytest.raises(ComponentError) as caught:
        facts_from_json(answer)
    assert caught.value.code == "engine.component.compiler-crashed"


def test_facts_survive_json(bench: Any, compiler: Compiler) -> None:
    facts = run(compiler, bench.component("two_memories.wat"))
    assert facts.footprint.memories.total() == 2
    assert facts_from_json(facts.to_json()) == facts
