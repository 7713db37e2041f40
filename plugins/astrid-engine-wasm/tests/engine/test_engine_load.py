from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from astrid_engine_wasm import plugin
from astrid_engine_wasm.engine import WasmEngine
from astrid_hookspecs.engines import CapsuleSpec, EngineEnvironment
from astrid_hookspecs.errors import ComponentError, EngineError, IntegrityError


def test_plugin_declares_one_engine_and_makes_it_on_demand(
    tmp_path: Path, abi: Mapping[str, tuple[str, ...]]
) -> None:
    (record,) = plugin.astrid_register_engines()
    assert record.name == "wasm"
    assert record.serves == {"component"}
    engine = record.factory(EngineEnvironment(cache_dir=tmp_path, seal_key=b"k" * 32, abi=abi))
    assert isinstance(engine, WasmEngine)
    engine.close()


def test_report_of_a_component(bench: Any) -> None:
    path = bench.component("kit.wat")
    report = bench.engine.inspect(path)
    assert report.digest == blake3(path.read_bytes()).hexdigest()
    assert report.size_bytes == path.stat().st_size
    assert report.imports == ()
    assert report.exports == ("astrid-hook-trigger", "astrid-install", "astrid-upgrade", "run")
    assert (report.has_hook, report.has_run, report.has_install, report.has_upgrade) == (True,) * 4
    other = bench.engine.inspect(bench.component("run_recv.wat"))
    assert other.imports == ("astrid:ipc/host@1.0.0", "astrid:sys/host@1.0.0")
    assert (other.has_hook, other.has_run, other.has_install, other.has_upgrade) == (
        False,
        True,
        False,
        False,
    )


def test_progress_is_reported_while_compiling_and_not_for_a_cached_component(bench: Any) -> None:
    path = bench.component("(component (core module (memory 3)))")
    seen: list[tuple[str, float | None]] = []
    bench.engine.prepare(path, progress=lambda step, done: seen.append((step, done)))
    assert seen[0] == (f"compiling {path.name}", 0.0)
    assert seen[-1] == (f"compiling {path.name}", 1.0)
    seen.clear()
    bench.engine.prepare(path, progress=lambda step, done: seen.append((step, done)))
    assert seen == []


def test_133_wasi_import_is_refused_by_name(bench: Any) -> None:
    with pytest.raises(ComponentError, match=r"wasi:io/poll@0\.2\.0") as caught:
        bench.engine.inspect(bench.component("wasi.wat"))
    assert "stub-wasi" in str(caught.value.hint)
    with pytest.raises(ComponentError, match=r"wasi:io/poll@0\.2\.0"):
        bench.load("wasi.wat")


def test_import_of_another_shape_is_refused_with_both_shapes(bench: Any) -> None:
    with pytest.raises(ComponentError) as caught:
        bench.load("wrong_shape.wat")
    assert caught.value.code == "engine.component.shape"
    assert "astrid:kv/host@1.0.0#kv-get" in caught.value.message
    assert "func(key: u32) -> string" in caught.value.message
    assert "option<list<u8>>" in caught.value.message


def test_133_newer_interface_version_is_refused(bench: Any) -> None:
    text = """(component (import "astrid:kv/host@1.9.0" (instance
      (export "kv-get" (func (param "key" string))))))"""
    with pytest.raises(ComponentError, match=r"astrid:kv/host@1\.9\.0"):
        bench.load(text)


MERGED = """(component (import "astrid:http/host@1.1.0" (instance))
  (core module (import "astrid:http/host@1.0.0" "http-request" (func))))"""


def test_component_refused_when_versions_that_differ_were_merged(bench: Any) -> None:
    with pytest.raises(ComponentError) as caught:
        bench.load(MERGED)
    assert caught.value.code == "engine.component.versions"
    assert "compiled for astrid:http/host@1.0.0 and imports astrid:http/host@1.1.0" in str(
        caught.value
    )
    bench.load(MERGED.replace("1.1.0", "1.0.0"))


def test_133_type_only_import_loads(bench: Any) -> None:
    text = """(component (import "astrid:guest/lifecycle@1.0.0" (instance
      (type $r (record (field "action" string) (field "data" (option string))))
      (export "capsule-result" (type (eq $r))))))"""
    assert bench.engine.inspect(bench.component(text)).imports == ("astrid:guest/lifecycle@1.0.0",)
    bench.load(text)


def test_export_of_another_shape_is_refused(bench: Any) -> None:
    text = """(component (core module $m (func (export "run") (param i32)))
      (core instance $i (instantiate $m))
      (func (export "run") (param "x" u32) (canon lift (core func $i "run"))))"""
    with pytest.raises(ComponentError, match="export run has another shape"):
        bench.load(text)


@pytest.mark.parametrize(
    ("content", "code", "what"),
    [
        (b"", "not-a-component", "empty"),
        (b"just some text\n", "not-a-component", "text"),
        (b"\0asm\x01\0\0\0", "not-a-component", "core WebAssembly module"),
        (b"\0asm\x0d\0\x01\0\x0b\x05", "invalid", "damaged"),
        (b"\0asm\x0d\0\x01\0\xff\x00", "invalid", "damaged"),
    ],
)
def test_files_that_are_no_component_are_refused(
    bench: Any, content: bytes, code: str, what: str
) -> None:
    with pytest.raises(ComponentError, match=what) as caught:
        bench.engine.inspect(bench.component(content))
    assert caught.value.code == f"engine.component.{code}"
    assert caught.value.hint


def test_truncated_component_is_refused(bench: Any) -> None:
    whole = bench.component("acts.wat").read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 20):
        with pytest.raises(ComponentError) as caught:
            bench.engine.inspect(bench.component(whole[:size]))
        assert caught.value.code == "engine.component.invalid"


def test_unreadable_paths_are_refused(bench: Any, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.wasm"):
        with pytest.raises(ComponentError) as caught:
            bench.engine.inspect(path)
        assert caught.value.code == "engine.component.unreadable"
        assert str(tmp_path) not in caught.value.message


def test_huge_file_is_refused_before_it_is_read(bench: Any, tmp_path: Path) -> None:
    path = tmp_path / "huge.wasm"
    path.write_bytes(b"\0asm\x0d\0\x01\0")
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(ComponentError) as caught:
        bench.engine.inspect(path)
    assert caught.value.code == "engine.component.too-large"


@pytest.mark.parametrize(
    "recorded",
    ["0" * 64, None, "0" * 63, "../" + "0" * 61],
    ids=["116-other", "116-none", "short", "path"],
)
def test_component_that_was_not_installed_is_refused(bench: Any, recorded: str | None) -> None:
    bench.load("acts.wat")
    with pytest.raises(IntegrityError):
        bench.load("acts.wat", component_hash=recorded)


def test_what_runs_is_the_recorded_component_whatever_the_file_says(bench: Any) -> None:
    """The sealed artefact of the recorded hash is the component; only compiling reads the file."""
    changed = bench.component("run_recv.wat")
    assert not bench.load("acts.wat", component=changed).is_run_loop()
    never_compiled = blake3(b"something else").hexdigest()
    with pytest.raises(IntegrityError):
        bench.load("acts.wat", component=changed, component_hash=never_compiled)


def test_capsule_without_component_is_refused(bench: Any) -> None:
    with pytest.raises(ComponentError):
        bench.load("acts.wat", component=None)


def test_closed_engine_refuses_work_and_leaves_no_thread(
    bench: Any, host: Any, tmp_path: Path, abi: Mapping[str, tuple[str, ...]]
) -> None:
    threads = set(threading.enumerate())
    engine = WasmEngine(EngineEnvironment(cache_dir=tmp_path / "c", seal_key=b"k" * 32, abi=abi))
    spec: CapsuleSpec = bench.spec("acts.wat")
    component = bench.component("acts.wat")
    engine.load(spec, host)
    engine.close()
    engine.close()
    for attempt in (
        lambda: engine.inspect(component),
        lambda: engine.prepare(component),
        lambda: engine.load(spec, host),
    ):
        with pytest.raises(EngineError, match="closed"):
            attempt()
    assert set(threading.enumerate()) <= threads


def test_memories_that_cannot_be_counted_are_refused(bench: Any) -> None:
    many = "(core module $m (memory 1))" + "(core instance (instantiate $m))" * 101
    with pytest.raises(ComponentError, match="more than 100") as caught:
        bench.load(f"(component {many})")
    assert caught.value.code == "engine.component.memories"
